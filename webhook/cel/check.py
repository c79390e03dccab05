"""Types and overloads of a tree. The rules and texts are cel-go's (`checker/checker.go`): what the API server
refuses is refused here.

Must not know Python source or values. What it finds goes into tables by node id, which later stages read; they look
no name up and infer no type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from webhook.cel import check_macros
from webhook.cel.diagnostics import Diagnostic, Failed, unsupported
from webhook.cel.env import ENUMS, NO_VALUES, TYPES, Env
from webhook.cel.messages import ANY, EVERY_FIELD, fields_of, message_of
from webhook.cel.overload import Overload
from webhook.cel.tree import (
    Bind,
    Call,
    Conditional,
    Field,
    Fold,
    Has,
    Ident,
    Index,
    ListLiteral,
    Literal,
    Logic,
    MapLiteral,
    Message,
    Node,
    Select,
    SortBy,
    bare,
    qualified_name,
)
from webhook.cel.typed import Typed
from webhook.cel.types import (
    BOOL,
    DYN,
    ERROR,
    INT,
    PRIMITIVES,
    Bindings,
    Type,
    list_of,
    map_of,
    more_general,
    optional_of,
    type_of,
)

LOCAL = "local"

_STRUCTS = "kubernetes."
"""Beginning of the names of the libraries' types that the server takes for messages (of no fields)."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A tree and what is known about its nodes, by id."""

    tree: Node
    types: dict[int, Type]
    names: dict[int, str]
    """What a name or a select chain stands for: a declared variable, a type's name, or `LOCAL`."""
    overloads: dict[int, tuple[Overload, ...]]
    """The rows that a call may mean: one, or those that `dyn` arguments leave open."""
    static: frozenset[int]
    """Calls whose target is a namespace and not a receiver."""
    raw: frozenset[int] = frozenset()
    """Steps from an optional that was itself reached by a step, as in `variables.held.field`: the server opens an
    optional only where a chain of steps starts, and finds nothing in others. `sure.py` finds them."""
    bare: frozenset[int] = frozenset()
    """`has()` of an optional as a branch of `c ? a : b`: there the server selects the field and does not test it."""
    typed: Mapping[int, Typed] = {}
    """Operations on what the server holds in Go's types. `origin.py` finds them."""

    def type(self, node: Node) -> Type:
        return self.types[node.id]


def check(tree: Node, env: Env) -> Checked:
    """Raises `Failed` with everything that is wrong."""
    checker = Checker(env)
    checker.check(tree)
    if checker.problems:
        raise Failed(checker.problems)
    substitute = checker.bindings.substitute
    types = {id: substitute(type, open_is_dyn=True) for id, type in checker.types.items()}
    # Whatever is of type `type` is looked for among the types, a macro's variable too.
    named = {id: name for id, name in checker.locals.items() if types[id].kind == "type" and name in TYPES}
    return Checked(
        tree=tree,
        types=types,
        names=checker.names | named,
        overloads=checker.overloads,
        static=frozenset(checker.static),
    )


class Checker:
    def __init__(self, env: Env) -> None:
        self.env = env
        self.bindings = Bindings()
        self.scopes: list[dict[str, Type]] = []
        self.problems: list[Diagnostic] = []
        self.types: dict[int, Type] = {}
        self.names: dict[int, str] = {}
        self.locals: dict[int, str] = {}
        """Names that stand for a macro's variable, by node id."""
        self.overloads: dict[int, tuple[Overload, ...]] = {}
        self.static: set[int] = set()
        self.range_at: dict[int, int] = {}
        """Where the range of a comprehension that a macro made up is said to stand."""

    def problem(self, at: int, message: str) -> Type:
        self.problems.append(Diagnostic(at, message))
        return ERROR

    def check(self, node: Node) -> Type:
        """The node's type, also recorded."""
        type: Type = _CHECKS[node.__class__](self, node)
        self.types[node.id] = type
        return type

    def mismatch(self, node: Node, expected: Type, found: Type) -> None:
        self.problem(node.at, f"expected type '{self.show(expected)}' but found '{self.show(found)}'")

    def show(self, type: Type) -> str:
        return str(self.bindings.substitute(type))

    # -- names

    def lookup(self, name: str) -> tuple[str, Type] | None:
        """(what it stands for, its type) of a name that may have dots."""
        if not name.startswith("."):
            for scope in reversed(self.scopes):
                if name in scope:
                    return LOCAL, scope[name]
        name = bare(name)
        if name in self.env.variables:
            return name, self.env.variables[name]
        if name in TYPES:
            return name, type_of(TYPES[name])
        if name in NO_VALUES:
            return name, type_of(NO_VALUES[name])
        if name in ENUMS:
            return name, INT
        return None

    def is_local(self, name: str) -> bool:
        """Whether the first part of a dotted name is a macro's variable, which hides declared names."""
        first = name.partition(".")[0]
        return any(first in scope for scope in self.scopes)

    def ident(self, node: Ident) -> Type:
        found = self.lookup(node.name)
        if found is None:
            return self.undeclared(node.at, node.name)
        self.names[node.id], type = found
        if found[0] == LOCAL:
            self.locals[node.id] = node.name
        return type

    def undeclared(self, at: int, name: str) -> Type:
        return self.problem(at, f"undeclared reference to '{name}' (in container '')")

    # -- selection

    def select(self, node: Select) -> Type:
        if not node.optional:
            name = qualified_name(node)
            found = self.lookup(name) if name is not None and not self.is_local(name) else None
            if found is not None:
                self.names[node.id], type = found
                return type
        return self.field(node.operand, node.field, node.at, optional=node.optional)

    def has(self, node: Has) -> Type:
        self.field(node.operand, node.field, node.at, optional=False)
        return BOOL

    def field(self, operand: Node, field: str, at: int, *, optional: bool) -> Type:
        type = self.bindings.substitute(self.check(operand))
        wrapped = type.kind == "optional"
        if wrapped:
            type = type.arguments[0]
        result = DYN
        match type.kind:
            case "map":
                result = type.arguments[1]
            case "object":
                fields = self.env.objects.get(type.name, {})
                result = fields[field] if field in fields else self.problem(at, f"undefined field '{field}'")
            case "opaque" if type.name.startswith(_STRUCTS):
                result = self.problem(at, f"unexpected failed resolution of '{type}'")
            case "parameter":
                self.bindings.assignable(DYN, type)
            case "dyn" | "error":
                pass
            case _:
                self.problem(at, f"type '{type}' does not support field selection")
        result = self.bindings.substitute(result)
        return optional_of(result) if wrapped or optional else result

    def index(self, node: Index) -> Type:
        operand, key = self.check(node.operand), self.check(node.key)
        function = "_[?_]" if node.optional else "_[_]"
        return self.resolve(node, function, (operand, key), (node.operand, node.key))

    # -- calls

    def call(self, node: Call) -> Type:
        arguments = tuple([self.check(argument) for argument in node.arguments])
        if node.target is None:
            function = bare(node.function)
            if function not in self.env.functions:
                return self.undeclared(node.at, node.function)
            return self.resolve(node, function, arguments, node.arguments)
        prefix = qualified_name(node.target)
        if prefix is not None and f"{prefix.removeprefix('.')}.{node.function}" in self.env.functions:
            self.static.add(node.id)
            function = f"{prefix.removeprefix('.')}.{node.function}"
            return self.resolve(node, function, arguments, node.arguments)
        target = self.check(node.target)
        if node.function not in self.env.functions:
            return self.undeclared(node.at, node.function)
        return self.resolve(node, node.function, (target, *arguments), (node.target, *node.arguments), member=True)

    def resolve(
        self,
        node: Node,
        function: str,
        arguments: tuple[Type, ...],
        _nodes: tuple[Node, ...] = (),
        *,
        member: bool = False,
        record: bool = True,
    ) -> Type:
        """The result of a call by the overload table; records which rows it may mean."""
        result: Type | None = None
        chosen: list[Overload] = []
        for overload in self.env.functions[function]:
            if overload.member != member:
                continue
            wanted, gives = overload.arguments, overload.result
            parameters = overload.parameters
            if parameters:
                instance = Bindings()
                instance.found = {parameter: self.bindings.fresh() for parameter in parameters}
                wanted = tuple(map(instance.substitute, wanted))
                gives = instance.substitute(gives)
            if not self.bindings.all_assignable(arguments, wanted):
                continue
            chosen.append(overload)
            gives = self.bindings.substitute(gives)
            if result is None:
                result = gives
            elif result.kind != "dyn" and result != gives:
                result = DYN
        if result is None:
            shown = [str(self.bindings.substitute(argument, open_is_dyn=True)) for argument in arguments]
            applied = f"{shown[0]}.({', '.join(shown[1:])})" if member else f"({', '.join(shown)})"
            return self.problem(node.at, f"found no matching overload for '{function}' applied to '{applied}'")
        if record:
            self.overloads[node.id] = tuple(chosen)
        return result

    def logic(self, node: Logic) -> Type:
        failed = False
        for term, type in [(term, self.check(term)) for term in node.terms]:
            failed |= not self.boolean(term, type)
        return ERROR if failed else BOOL

    def boolean(self, node: Node, type: Type) -> bool:
        if self.bindings.assignable(type, BOOL):
            return True
        self.problem(node.at, f"expected type '{BOOL}' but found '{type}'")
        return False

    def conditional(self, node: Conditional) -> Type:
        types = (self.check(node.condition), self.check(node.then), self.check(node.otherwise))
        return self.resolve(node, "_?_:_", types, record=False)

    # -- literals

    def literal(self, node: Literal) -> Type:
        return PRIMITIVES[node.kind]

    def list(self, node: ListLiteral) -> Type:
        joined: Type | None = None
        for position, element in enumerate(node.elements):
            type = self.check(element)
            if position in node.optional:
                type = self.unwrap(element, type)
            joined = self.join(joined, type)
        return list_of(self.bindings.fresh() if joined is None else joined)

    def map(self, node: MapLiteral) -> Type:
        keys: Type | None = None
        values: Type | None = None
        for entry in node.entries:
            keys = self.join(keys, self.check(entry.key))
            type = self.check(entry.value)
            if entry.optional:
                type = self.unwrap(entry.value, type)
            values = self.join(values, type)
        if keys is None or values is None:
            return map_of(self.bindings.fresh(), self.bindings.fresh())
        return map_of(keys, values)

    def unwrap(self, node: Node, type: Type) -> Type:
        type = self.bindings.substitute(type)
        if type.kind == "optional":
            return type.arguments[0]
        if type.kind == "dyn":
            return type  # `validate.py` has a word on it
        self.mismatch(node, optional_of(type), type)
        return type

    def join(self, before: Type | None, type: Type) -> Type:
        if before is None:
            return type
        return more_general(before, type) if self.bindings.assignable(before, type) else DYN

    def message(self, node: Message) -> Type:
        name = bare(node.name)
        made = NO_VALUES.get(name, TYPES.get(name))
        if made is None and name in self.env.objects:
            made = Type("object", name)
        if made is None:
            return self.undeclared(node.at, node.name)
        if name == ANY and node.fields:
            return self.problem(node.at, unsupported("google.protobuf.Any of something"))
        message = message_of(name, made)
        if not message:
            made = self.problem(node.at, f"'{name}' is not a message type")
        for field in node.fields:
            self.message_field(message or name, field)
        return made

    def message_field(self, message: str, field: Field) -> None:
        type, wanted = self.check(field.value), ERROR
        fields = fields_of(message, self.env.objects)
        if message == EVERY_FIELD:
            pass
        elif fields is None:
            self.problem(field.at, f"unexpected failed resolution of '{message}'")
        elif field.name not in fields:
            self.problem(field.at, f"undefined field '{field.name}'")
        else:
            wanted = fields[field.name]
        if field.optional:
            type = self.unwrap(field.value, type)
        if not self.bindings.assignable(wanted, type):
            found = f"'{self.show(wanted)}' but provided type is '{self.show(type)}'"
            self.problem(field.at, f"expected type of field '{field.name}' is {found}")


_CHECKS: dict[type, Any] = {
    Literal: Checker.literal,
    Ident: Checker.ident,
    Select: Checker.select,
    Has: Checker.has,
    Index: Checker.index,
    Call: Checker.call,
    Logic: Checker.logic,
    Conditional: Checker.conditional,
    ListLiteral: Checker.list,
    MapLiteral: Checker.map,
    Message: Checker.message,
    Fold: check_macros.fold,
    Bind: check_macros.bind,
    SortBy: check_macros.sort_by,
}
