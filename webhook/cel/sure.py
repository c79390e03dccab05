"""What is surely known of a node's type when it runs, for the generator.

The checker's types are not that: a type parameter that nothing bound may later be bound to whatever the first overload
wants (`dyn([1]).distinct().sum()` makes the list one of ints), and values of type `dyn` flow into it. Here a type is
derived from the operands' sure types alone, and `dyn` is the answer where they do not tell.
"""

from __future__ import annotations

from typing import Final

import msgspec

from webhook.cel.check import LOCAL, Checked
from webhook.cel.dispatch import surely
from webhook.cel.env import VARIABLES, Env, Held
from webhook.cel.facts import children, operands
from webhook.cel.origin import trace_origins
from webhook.cel.overload import Overload
from webhook.cel.tree import (
    Bind,
    Call,
    Conditional,
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
)
from webhook.cel.types import BOOL, DYN, INT, Type, list_of, map_of, optional_of

# Made once: these tests are of every node.
_STEPS: Final = (Select, Index)
_JSON: Final = ("object", "oldObject", "params", "request", "namespaceObject")
_TESTED: Final = (*_STEPS, Has)


def sure(checked: Checked, env: Env) -> tuple[Checked, Held]:
    """The same tree with types that are sure, and what it holds as a variable."""
    walker = _Walker(checked, env)
    walker.visit(checked.tree)
    known = msgspec.structs.replace(checked, types=walker.types, raw=frozenset(walker.raw), bare=frozenset(walker.bare))
    marked, origin, foreign = trace_origins(known, env)
    known = msgspec.structs.replace(known, typed=marked)
    type, surely = checked.type(checked.tree), known.type(checked.tree)
    chosen = surely == DYN and walker.may_be_optional(checked.tree)
    # The checker's type, unless it only says dyn of what surely is an optional.
    return known, Held(surely if type == DYN and surely.kind == "optional" else type, chosen, origin, foreign)


class _Walker:
    def __init__(self, checked: Checked, env: Env) -> None:
        self.checked = checked
        self.env = env
        self.types: dict[int, Type] = {}
        self.raw: set[int] = set()
        self.bare: set[int] = set()
        self.scopes: list[dict[str, Type]] = []

    def visit(self, node: Node) -> Type:
        type = self.types[node.id] = self.type(node)
        return type

    def type(self, node: Node) -> Type:
        name = self.checked.names.get(node.id)
        if name == LOCAL and isinstance(node, Ident):
            return next((scope[node.name] for scope in reversed(self.scopes) if node.name in scope), DYN)
        if name is not None:
            return self.checked.types[node.id]
        match node:
            case Fold():
                return self.fold(node)
            case Bind():
                return self.bind(node)
            case SortBy():
                self.visit(node.keys)
                target = self.types[node.target.id]
                return target if target.kind == "list" else list_of(DYN)
        if isinstance(node, Conditional):
            self.bare.update(
                branch.id
                for branch in (node.then, node.otherwise)
                if isinstance(branch, Has) and self.is_optional(branch.operand)
            )
        for child in children(node) if not isinstance(node, Call) else operands(node, self.checked):
            self.visit(child)
        if isinstance(node, _TESTED) and self.is_raw(node.operand):
            self.raw.add(node.id)
            self.bare.discard(node.id)
        match node:
            case Literal():
                return self.checked.types[node.id]
            case Select():
                return self.select(node)
            case Logic():
                return BOOL
            case Has():
                return DYN if node.id in self.bare else BOOL
            case Index():
                return self.index(node)
            case Conditional():
                return _same([self.types[node.then.id], self.types[node.otherwise.id]])
            case ListLiteral():
                return list_of(DYN if node.optional else _same([self.types[each.id] for each in node.elements]))
            case MapLiteral():
                if any(entry.optional for entry in node.entries):
                    return map_of(DYN, DYN)
                keys = _same([self.types[entry.key.id] for entry in node.entries])
                return map_of(keys, _same([self.types[entry.value.id] for entry in node.entries]))
            case Call():
                found = tuple(self.types[operand.id] for operand in operands(node, self.checked))
                return self.call(self.checked.overloads[node.id], found)
            case Message() | Ident():
                return DYN  # some are null, and some cannot be made

    def is_raw(self, node: Node) -> bool:
        """Whether it is a step, of a chain that has not been optional so far, to what the checker calls an optional; or
        a choice of such, for the chain goes on in its branches."""
        if isinstance(node, Conditional):
            raw = [each for each in (node.then, node.otherwise) if self.is_raw(each)]
            others = [each for each in (node.then, node.otherwise) if each not in raw]
            return bool(raw) and all(map(self.is_no_optional, others))
        if not isinstance(node, _STEPS) or node.id in self.checked.names or node.optional:
            return False
        if self.types[node.operand.id].kind != "optional" and self.may_be_optional(node):
            return True
        if self.types[node.operand.id].kind != "optional" and self.types[node.id].kind == "optional":
            return True
        return self.held(node.operand).kind != "optional" and self.held(node).kind == "optional"

    def is_no_optional(self, node: Node) -> bool:
        """Whether it surely is none: by its type, or as a part of what is JSON."""
        kind = self.held(node).kind
        if kind != "dyn":
            return kind != "optional"
        while isinstance(node, _STEPS) and node.id not in self.checked.names and not node.optional:
            node = node.operand
        return self.checked.names.get(node.id) in _JSON

    def may_be_optional(self, node: Node) -> bool:
        """Whether a value of type dyn may be an optional, because a choice has made it so."""
        if node.id in self.checked.names:
            return False
        match node:
            case Conditional():
                return any(
                    self.types[each.id].kind == "optional" or self.may_be_optional(each)
                    for each in (node.then, node.otherwise)
                )
            case Call(function=function, arguments=(argument,)) if bare(function) == "dyn":
                return self.may_be_optional(argument)
            case Select(operand=operand, field=field) if self.checked.types[operand.id] == VARIABLES:
                return field in self.env.held and self.env.held[field].chosen
            case Index(operand=Fold(body=body)) if body is not None:
                return self.may_be_optional(body)
        return False

    def is_optional(self, node: Node) -> bool:
        """Whether it is a chain that has an optional step, or starts with an optional."""
        if self.checked.types[node.id].kind == "optional":
            return True
        if not isinstance(node, Select | Index) or node.id in self.checked.names:
            return False
        return node.optional or self.is_optional(node.operand)

    def held(self, node: Node) -> Type:
        """What the checker knows of a node, or would if a variable were declared as what it holds and `dyn()` hid
        nothing."""
        if isinstance(node, Call) and bare(node.function) == "dyn" and len(node.arguments) == 1:
            return self.held(node.arguments[0])
        if not isinstance(node, _STEPS) or node.id in self.checked.names:
            return self.checked.types[node.id]
        if self.checked.types[node.operand.id] == VARIABLES and isinstance(node, Select):
            return self.env.held[node.field].type if node.field in self.env.held else DYN
        operand = self.held(node.operand)
        known = operand.kind in ("list", "map") and not node.optional
        return operand.arguments[-1] if known else self.checked.types[node.id]

    def select(self, node: Select) -> Type:
        operand = self.types[node.operand.id]
        wrapped = operand.kind == "optional"
        if wrapped:
            operand = operand.arguments[0]
        result = DYN
        if operand.kind == "map":
            result = operand.arguments[1]
        elif operand.kind == "object" and operand != VARIABLES:
            # Of a policy's variables only the checker's types are known.
            result = self.env.objects.get(operand.name, {}).get(node.field, DYN)
        return optional_of(result) if wrapped or node.optional else result

    def index(self, node: Index) -> Type:
        operand = self.types[node.operand.id]
        wrapped = operand.kind == "optional"
        if wrapped:
            operand = operand.arguments[0]
        result = operand.arguments[-1] if operand.kind in ("list", "map") else DYN
        return optional_of(result) if wrapped or node.optional else result

    def call(self, rows: tuple[Overload, ...], found: tuple[Type, ...]) -> Type:
        """Of one row whose arguments surely fit, its result; else what all overloads of the function agree on."""
        if rows[0].function == "dyn" and found[0].kind == "optional":
            return found[0]  # what is stored of it as a variable has to be known
        if len(rows) == 1 and all(map(surely, found, rows[0].arguments)):
            bound: dict[Type, Type] = {}
            for type, wanted in zip(found, rows[0].arguments, strict=True):
                _bind(type, wanted, bound)
            return _filled(rows[0].result, bound)
        if len(rows) == 1 and rows[0].on_dyn is None:
            return _filled(rows[0].result, {})
        name, member = rows[0].function, rows[0].member
        if name == "or":
            return DYN  # what stands for nothing is not looked at, and the checker lets null pass
        every = [row.result for row in self.env.functions[name] if row.member == member]
        result = _same(every)
        return DYN if result.kind == "parameter" else _filled(result, {})

    def fold(self, node: Fold) -> Type:
        type = self.visit(node.range)
        first = second = DYN
        if type.kind == "list":
            first, second = (INT, type.arguments[0]) if node.second else (type.arguments[0], DYN)
        elif type.kind == "map":
            first, second = type.arguments
        self.scopes.append({node.variable: first} | ({node.second: second} if node.second else {}))
        if node.predicate is not None:
            self.visit(node.predicate)
        body = self.visit(node.body) if node.body is not None else DYN
        self.scopes.pop()
        match node.macro:
            case "all" | "exists" | "existsOne":
                return BOOL
            case "filter":
                return list_of(first)
            case "map" | "transformList":
                return list_of(body)
            case "transformMap":
                return map_of(INT if type.kind == "list" else first, body)
        return map_of(DYN, DYN)

    def bind(self, node: Bind) -> Type:
        target = self.visit(node.target)
        self.scopes.append({node.variable: target.arguments[0] if target.kind == "optional" else DYN})
        body = self.visit(node.body)
        self.scopes.pop()
        if not node.flat:
            return optional_of(body)
        return body if body.kind == "optional" else DYN


def _same(types: list[Type]) -> Type:
    return types[0] if types and all(type == types[0] for type in types) else DYN


def _bind(type: Type, wanted: Type, bound: dict[Type, Type]) -> None:
    if wanted.kind == "parameter":
        bound[wanted] = type if bound.get(wanted, type) == type else DYN
        return
    for inner, parameter in zip(type.arguments, wanted.arguments, strict=False):
        _bind(inner, parameter, bound)


def _filled(type: Type, bound: dict[Type, Type]) -> Type:
    if type.kind == "parameter":
        return bound.get(type, DYN)
    if not type.arguments:
        return type
    return Type(type.kind, type.name, tuple(_filled(argument, bound) for argument in type.arguments))
