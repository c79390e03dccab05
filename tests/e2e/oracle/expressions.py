"""Expressions by chance, from a seed: well typed, nearly so, and not at all.

Types and functions come from the compiler's own overload table, so that whatever is added to it is asked about too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from tests.e2e.oracle import texts
from webhook.cel.library import FUNCTIONS
from webhook.cel.overload import Overload
from webhook.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    list_of,
    map_of,
    optional_of,
)

OPAQUE: Final = tuple(
    Type("opaque", name)
    for name in ("kubernetes.Quantity", "kubernetes.Semver", "net.IP", "net.CIDR", "kubernetes.URL")
)
_SIMPLE: Final = (BOOL, INT, INT, STRING, STRING, DOUBLE, UINT, BYTES, TIMESTAMP, DURATION)
_KEYS: Final = (STRING, STRING, STRING, INT, BOOL, UINT)

_BINARY: Final = frozenset(("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_+_", "_-_", "_*_", "_/_", "_%_", "@in"))
_HIDDEN: Final = ("cel.@", "@sort")
_OUT_OF_REACH: Final = "kubernetes.authorization."
"""What a webhook cannot know is not compared."""


class Node(NamedTuple):
    """A piece of an expression: text and nodes in the order in which they are written."""

    type: Type
    parts: tuple[str | Node, ...]

    def __str__(self) -> str:
        return "".join(map(str, self.parts))

    def walk(self) -> Iterator[Node]:
        """The nodes below this one."""
        for part in self.parts:
            if isinstance(part, Node):
                yield part
                yield from part.walk()


class Variable(NamedTuple):
    """A name that an expression may use; `samples` are values that it may have, if they are JSON."""

    name: str
    type: Type
    samples: tuple[Any, ...] = ()


REQUEST: Final = {
    "uid": "",
    "kind": {"group": "example.dev", "version": "v1", "kind": "Corner"},
    "resource": {"group": "example.dev", "version": "v1", "resource": "corners"},
    "requestKind": {"group": "example.dev", "version": "v1", "kind": "Corner"},
    "requestResource": {"group": "example.dev", "version": "v1", "resource": "corners"},
    "name": "corner-0",
    "namespace": "default",
    "operation": "UPDATE",
    "userInfo": {"username": "alice", "groups": ["dev", "system:authenticated"], "extra": {"scopes": ["a", "b"]}},
    "object": None,
    "oldObject": None,
    "dryRun": False,
    "options": {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1"},
}
NAMESPACE: Final = {
    "metadata": {
        "name": "default",
        "labels": {"env": "prod", "kubernetes.io/metadata.name": "default"},
        "annotations": {"a.b/c": "x"},
    },
    "spec": {"finalizers": ["kubernetes"]},
    "status": {"phase": "Active"},
}
_FIELDS: Final = (
    *(("request." + name, STRING) for name in ("name", "namespace", "operation", "subResource", "kind.kind")),
    ("request.userInfo.username", STRING),
    ("request.userInfo.uid", STRING),
    ("request.userInfo.groups", list_of(STRING)),
    ("request.userInfo.extra", map_of(STRING, list_of(STRING))),
    ("request.dryRun", BOOL),
    ("request.options", DYN),
    ("namespaceObject.metadata.name", STRING),
    ("namespaceObject.metadata.labels", map_of(STRING, STRING)),
    ("namespaceObject.metadata.annotations", map_of(STRING, STRING)),
    ("namespaceObject.spec.finalizers", list_of(STRING)),
    ("namespaceObject.status.phase", STRING),
)


class Generator:
    """Writes expressions over `variables`, which stand for what the evaluation will bind."""

    def __init__(self, random: random.Random, variables: Sequence[Variable]) -> None:
        self._random = random
        self._variables = list(variables)
        self._by_result = _by_result()
        self._fresh = 0

    def expression(self, type: Type | None = None, depth: int | None = None) -> Node:
        """One expression, of `type` if all goes well; some are ill typed on purpose."""
        if depth is None:
            depth = self._random.choice((1, 2, 2, 3, 3, 4, 5))
        self._fresh = 0
        made = self._node(type or self._any_type(), depth)
        return self.misspelt(made) if self._random.random() < 0.04 else made

    def path(self) -> tuple[str, Any]:
        """A path into what a variable holds, with what is there; it leads nowhere now and then."""
        return self._path(self._random.choice([each for each in self._variables if each.samples]))

    def misspelt(self, node: Node) -> Node:
        """The expression with a slip of the pen: most are no CEL any more."""
        text = str(node)
        for _ in range(self._random.choice((1, 1, 2))):
            at = self._random.randrange(len(text) + 1)
            slip = self._random.choice(texts.SLIPS)
            text = text[:at] + slip + text[at + (not slip) :]
        return Node(node.type, (text,))

    # What type, and which way to it

    def _any_type(self, depth: int = 2) -> Type:
        roll = self._random.random()
        if depth and roll < 0.12:
            return list_of(self._any_type(depth - 1))
        if depth and roll < 0.18:
            return map_of(self._random.choice(_KEYS), self._any_type(depth - 1))
        if depth and roll < 0.23:
            return optional_of(self._any_type(depth - 1))
        if roll < 0.28:
            return self._random.choice(OPAQUE)
        if roll < 0.32:
            return DYN
        if roll < 0.34:
            return NULL
        if roll < 0.36:
            return Type("type", "", (DYN,))
        return BOOL if roll < 0.5 else self._random.choice(_SIMPLE)

    def _node(self, type: Type, depth: int) -> Node:
        roll = self._random.random()
        if roll < 0.03:
            type = self._any_type()  # ill typed, most of the time
        elif roll < 0.08 and depth:
            return Node(DYN, ("dyn(", self._node(type, depth - 1), ")"))
        if depth <= 0:
            return self._leaf(type)
        ways = (self._call, self._call, self._call, self._leaf_at, self._macro, self._control, self._access)
        for way in self._random.sample(ways, len(ways)):
            made = way(type, depth)
            if made is not None:
                return made
        return self._leaf(type)

    # Leaves

    def _leaf_at(self, type: Type, depth: int) -> Node | None:
        return self._leaf(type, depth) if self._random.random() < 0.5 else None

    def _leaf(self, type: Type, depth: int = 0) -> Node:
        if self._random.random() < 0.6 and (found := self._name(type)) is not None:
            return found
        return self._literal(type, depth)

    def _name(self, type: Type) -> Node | None:
        """A variable, or a path into one, whose value is of the type."""
        if self._random.random() < 0.1:
            fields = [(text, held) for text, held in _FIELDS if held == type]
            if fields:
                return Node(type, (self._random.choice(fields)[0],))
        candidates = [each for each in self._variables if each.type == type and type != DYN]
        if candidates and self._random.random() < 0.7:
            return Node(type, (self._random.choice(candidates).name,))
        holding = [each for each in self._variables if each.samples]
        # The innermost variables are the ones that a loop is about.
        weights = [4 if each.name not in ("object", "oldObject", "params") else 1 for each in holding]
        for _ in range(4):
            chosen = self._random.choices(holding, weights)[0]
            text, value = self._path(chosen)
            if type == DYN or _json_type(value) == type.kind:
                return Node(DYN, (text,))
        return None

    def _path(self, variable: Variable) -> tuple[str, Any]:
        text, value = variable.name, self._random.choice(variable.samples)
        for _ in range(self._random.choice((0, 1, 2, 2, 3, 3, 4))):
            if isinstance(value, dict) and value:
                key = self._random.choice(list(value))
                if "spec" in value and self._random.random() < 0.7:
                    key = "spec"
                if self._random.random() < 0.03:
                    return f"{text}.absent", None
                text += _step(self._random, key)
                value = value[key]
            elif isinstance(value, list) and value:
                at = self._random.randrange(len(value) + (self._random.random() < 0.05))
                text += f"[{at}]"
                value = value[at] if at < len(value) else None
            else:
                break
        return text, value

    def _literal(self, type: Type, depth: int = 0) -> Node:
        pick = self._random.choice
        match type.kind:
            case "bool":
                return Node(type, (pick(("true", "false")),))
            case "int":
                return Node(type, (pick(texts.INTS),))
            case "uint":
                return Node(type, (pick(texts.UINTS),))
            case "double":
                return Node(type, (pick(texts.DOUBLES),))
            case "string":
                return Node(type, (pick(texts.STRINGS),))
            case "bytes":
                return Node(type, (pick(texts.BYTES),))
            case "null":
                return Node(type, ("null",))
            case "type":
                return Node(type, (pick(("int", "string", "list", "type", "google.protobuf.Duration", "net.IP")),))
            case "timestamp" | "duration":
                return Node(type, (f"{type.kind}({pick(texts.STRINGS_FOR[type.kind])})",))
            case "list":
                items = [self._node(type.arguments[0], depth - 1) for _ in range(pick((0, 1, 1, 2, 2, 3)))]
                return Node(type, ("[", *_separated([(self._mark(each), each) for each in items]), "]"))
            case "map":
                pairs = []
                for _ in range(pick((0, 1, 1, 2))):
                    key, value = (self._node(each, depth - 2) for each in type.arguments)
                    pairs.append((key, ": ", value))
                return Node(type, ("{", *_separated(pairs), "}"))
            case "optional":
                if self._random.random() < 0.3:
                    return Node(type, ("optional.none()",))
                name = pick(("of", "of", "ofNonZeroValue"))
                return Node(type, (f"optional.{name}(", self._node(type.arguments[0], depth - 1), ")"))
            case "opaque":
                function = type.name.rpartition(".")[2].lower()
                if function in texts.STRINGS_FOR:
                    return Node(type, (f"{function}({pick(texts.STRINGS_FOR[function])})",))
                return Node(type, (f"format.{pick(texts.NAMES)}()",))
        return self._literal(pick(_SIMPLE))

    def _mark(self, element: Node) -> str:
        return "?" if element.type.kind == "optional" and self._random.random() < 0.8 else ""

    # Calls

    def _call(self, type: Type, depth: int) -> Node | None:
        names = self._by_result.get(type.kind if type.kind != "opaque" else type.name, {})
        generic = self._by_result["parameter"]
        rows = (
            self._random.choice(list(names.values()))
            if names and self._random.random() < 0.85
            else self._random.choice(list(generic.values()))
        )
        overload = self._random.choice(rows)
        bound: dict[str, Type] = {}
        if not _unify(overload.result, type, bound):
            return None
        return self._apply(overload, [self._closed(each, bound) for each in overload.arguments], type, depth)

    def _closed(self, type: Type, bound: dict[str, Type]) -> Type:
        if type.kind == "parameter":
            return bound.setdefault(type.name, self._random.choice(_SIMPLE))
        if not type.arguments:
            return type
        return Type(type.kind, type.name, tuple(self._closed(each, bound) for each in type.arguments))

    def _apply(self, overload: Overload, types: Sequence[Type], type: Type, depth: int) -> Node:
        name = overload.function
        if name == "format":
            return self._format(type, depth)
        arguments = [self._argument(name, at, each, depth) for at, each in enumerate(types)]
        closed = [self._closed_text(each) for each in arguments]
        if name in _BINARY:
            operator = "in" if name == "@in" else name.strip("_")
            return Node(type, (*closed[0], f" {operator} ", *closed[1]))
        match name:
            case "!_" | "-_":
                return Node(type, (name[0], *closed[0]))
            case "_?_:_":
                return Node(type, (*closed[0], " ? ", *closed[1], " : ", *closed[2]))
            case "_[_]" | "_[?_]":
                return Node(type, (*closed[0], "[?" if "?" in name else "[", arguments[1], "]"))
        if overload.member:
            return Node(type, (*closed[0], f".{name}(", *_separated([(each,) for each in arguments[1:]]), ")"))
        return Node(type, (f"{name}(", *_separated([(each,) for each in arguments]), ")"))

    def _closed_text(self, node: Node) -> tuple[str | Node, ...]:
        """An operand; nearly always in parentheses where it might need them."""
        text = str(node)
        bracketed = text[-1] in ")]}'\"" and text[0] not in "-!(" and " " not in text
        plain = bracketed or text.replace(".", "").isalnum()
        if plain or self._random.random() < 0.05:
            return (node,)
        return ("(", node, ")")

    def _argument(self, function: str, at: int, type: Type, depth: int) -> Node:
        hints: Sequence[str] = texts.STRINGS_FOR.get(function, ())
        if type == STRING:
            if function in ("matches", "find", "findAll") and at:
                hints = texts.BAD_PATTERNS if self._random.random() < 0.05 else texts.PATTERNS
            elif function.startswith("get") and at:
                hints = texts.STRINGS_FOR["zone"]
            elif function == "isIP" or function == "containsIP" or function == "ip.isCanonical":
                hints = texts.STRINGS_FOR["ip"]
            elif function in ("isCIDR", "containsCIDR"):
                hints = texts.STRINGS_FOR["cidr"]
            elif function in ("isURL", "isQuantity", "isSemver"):
                hints = texts.STRINGS_FOR[function[2:].lower()]
            elif function == "format.named":
                hints = tuple(f"'{name}'" for name in (*texts.NAMES, "none"))
            if hints and self._random.random() < 0.8:
                text = self._random.choice(hints)
                # Constants are checked and folded when compiled; what is dyn is computed.
                return Node(STRING, (f"dyn({text})",)) if self._random.random() < 0.2 else Node(STRING, (text,))
        if type == INT and at and self._random.random() < 0.7:
            return Node(INT, (self._random.choice(("0", "1", "2", "3", "-1", "100")),))
        return self._node(type, depth - 1)

    def _format(self, type: Type, depth: int) -> Node:
        clauses, arguments = "", []
        for _ in range(self._random.choice((0, 1, 1, 2, 3))):
            clause, kind = self._random.choice(texts.FORMATS)
            clauses += self._random.choice(("", "-", " ", "\\u00e9")) + clause
            if kind != "":
                arguments.append(self._node(Type(kind) if kind else self._any_type(), depth - 2))
        if self._random.random() < 0.1:
            arguments = arguments[:-1]
        return Node(type, (f"'{clauses}'.format([", *_separated([(each,) for each in arguments]), "])"))

    # Macros, choices and steps into values

    def _macro(self, type: Type, depth: int) -> Node | None:
        match type.kind:
            case "bool":
                if self._random.random() < 0.3:
                    return self._has()
                name = self._random.choice(("all", "exists", "exists_one", "existsOne"))
                return self._loop(type, depth, name, BOOL)
            case "list":
                name = self._random.choice(("map", "map", "filter", "transformList", "sortBy"))
                if name == "map":
                    return self._loop(type, depth, name, type.arguments[0], filtered=self._random.random() < 0.3)
                if name == "transformList":
                    return self._loop(
                        type, depth, name, type.arguments[0], filtered=self._random.random() < 0.3, two=True
                    )
                if name == "sortBy":
                    return self._loop(
                        type, depth, name, self._random.choice((INT, STRING, DOUBLE)), element=type.arguments[0]
                    )
                return self._loop(type, depth, name, BOOL, element=type.arguments[0])
            case "map":
                if self._random.random() < 0.3:
                    return self._loop(type, depth, "transformMapEntry", type, two=True)
                return self._loop(type, depth, "transformMap", type.arguments[1], two=True)
            case "optional":
                if self._random.random() < 0.5:
                    target = self._closed_text(self._node(optional_of(self._any_type(1)), depth - 1))
                    name = self._random.choice(("optMap", "optFlatMap"))
                    wanted = type.arguments[0] if name == "optMap" else type
                    return self._body(type, depth, target, name, [(DYN, ())], [wanted])
                text, _ = self.path()
                head, dot, last = text.rpartition(".")
                return Node(type, (f"{head}.?{last}",)) if dot and last.isidentifier() else None
        return None

    def _has(self) -> Node | None:
        text, _ = self.path()
        if self._random.random() < 0.05 and (held := self._name(optional_of(DYN))) is not None:
            text = f"{held}.k"
        if self._random.random() < 0.3:
            text += self._random.choice((".absent", ".name", ".k"))
        return Node(BOOL, (f"has({text})",)) if "." in text and text[-1] != "]" else None

    def _loop(
        self,
        type: Type,
        depth: int,
        name: str,
        result: Type,
        *,
        element: Type | None = None,
        filtered: bool = False,
        two: bool | None = None,
    ) -> Node | None:
        """A macro over a list of JSON, or a list that is written out. Maps have no order, so few are looped over."""
        if two is None:
            two = name in ("all", "exists", "existsOne") and self._random.random() < 0.2
        lists = [(text, value) for text, value in self._holding() if isinstance(value, list)]
        first: tuple[Type, tuple[Any, ...]]
        if lists and self._random.random() < 0.65 and (element is None or self._random.random() < 0.5):
            text, value = self._random.choice(lists)
            target: tuple[str | Node, ...] = (Node(DYN, (text,)),)
            first = (DYN, tuple(value[:4]))
        else:
            item = element or self._any_type(1)
            if self._random.random() < 0.1:
                target = self._closed_text(self._node(map_of(STRING, item), depth - 1))
                first = (STRING, ())
            else:
                target = self._closed_text(self._node(list_of(item), depth - 1))
                first = (item, ())
        names = [(INT, ()), first] if two else [first]
        wanted = [BOOL, result] if filtered else [result]
        return self._body(type, depth, target, name, names, wanted)

    def _holding(self) -> list[tuple[str, Any]]:
        holding = [each for each in self._variables if each.samples]
        return [self._path(self._random.choice(holding)) for _ in range(6)]

    def _body(
        self,
        type: Type,
        depth: int,
        target: tuple[str | Node, ...],
        macro: str,
        bound: Sequence[tuple[Type, tuple[Any, ...]]],
        wanted: Sequence[Type],
    ) -> Node:
        names = []
        for held, samples in bound:
            self._fresh += 1
            name = self._random.choice(("x", "y", "i", "c")) if self._random.random() < 0.2 else f"v{self._fresh}"
            names.append(Variable(name, held, samples))
        self._variables += names
        try:
            bodies = [self._node(each, depth - 1) for each in wanted]
        finally:
            del self._variables[-len(names) :]
        head = f".{macro}({', '.join(each.name for each in names)}, "
        return Node(type, (*target, head, *_separated([(each,) for each in bodies]), ")"))

    def _control(self, type: Type, depth: int) -> Node | None:
        if type == BOOL and self._random.random() < 0.7:
            left, right = (self._closed_text(self._node(BOOL, depth - 1)) for _ in range(2))
            return Node(BOOL, (*left, self._random.choice((" && ", " || ")), *right))
        if self._random.random() < 0.6:
            return None
        condition, yes, no = (self._closed_text(self._node(each, depth - 1)) for each in (BOOL, type, type))
        return Node(type, (*condition, " ? ", *yes, " : ", *no))

    def _access(self, type: Type, depth: int) -> Node | None:
        roll = self._random.random()
        if type.kind == "optional" and roll < 0.5:
            held = self._closed_text(self._node(optional_of(DYN), depth - 1))
            return Node(type, (*held, self._random.choice((".k", ".?name", ".spec", "[0]", "['a']", "[?'k']", "[?0]"))))
        if roll < 0.25:
            held = self._closed_text(self._node(list_of(type), depth - 1))
            return Node(type, (*held, "[", self._argument("", 1, INT, depth), "]"))
        if roll < 0.5:
            held = self._closed_text(self._node(map_of(STRING, type), depth - 1))
            return Node(type, (*held, self._random.choice((".k", ".name", "['a']", "['k']"))))
        return None


def _json_type(value: Any) -> str:
    return {
        bool: "bool", int: "int", float: "double", str: "string", list: "list", dict: "map", type(None): "null",
    }[type(value)]  # fmt: skip


def _step(random: random.Random, key: str) -> str:
    if key.isidentifier() and key.isascii() and key not in ("in", "true", "false", "null") and random.random() < 0.9:
        return f".{key}"
    escaped = key.replace("\\", "\\\\").replace("'", "\\'")
    return f"['{escaped}']"


def _separated(items: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    parts: list[Any] = []
    for at, item in enumerate(items):
        if at:
            parts.append(", ")
        parts.extend(part for part in item if part != "")
    return tuple(parts)


def _unify(pattern: Type, wanted: Type, bound: dict[str, Type]) -> bool:
    if pattern.kind == "parameter":
        return bound.setdefault(pattern.name, wanted) == wanted
    if wanted.kind == "dyn":
        return True
    return (pattern.kind, pattern.name) == (wanted.kind, wanted.name) and all(
        _unify(left, right, bound) for left, right in zip(pattern.arguments, wanted.arguments, strict=False)
    )


@cache
def _by_result() -> Mapping[str, dict[str, list[Overload]]]:
    """The overloads by what they give: a kind, the name of an opaque type, or `parameter`; then by function."""
    found: dict[str, dict[str, list[Overload]]] = {}
    for name, rows in FUNCTIONS.items():
        if name.startswith(_HIDDEN):
            continue
        for row in rows:
            if any(each.name.startswith(_OUT_OF_REACH) for each in (*row.arguments, row.result)):
                continue
            kind = row.result.name if row.result.kind == "opaque" else row.result.kind
            found.setdefault(kind, {}).setdefault(name, []).append(row)
    return found
