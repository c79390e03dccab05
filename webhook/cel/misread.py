"""What the server says of what it has read of an expression that is no CEL: it makes a tree of it and expands the
macros in it, for nothing but their complaints (`cel-go parser/parser.go`, `Visit…`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from webhook.cel.diagnostics import BEFORE, Diagnostic
from webhook.cel.lexer import Token
from webhook.cel.macros import MacroError, Unreachable, expand_global, expand_member
from webhook.cel.recovery import GaveUp, Part, Recovery
from webhook.cel.tree import Call, Ident, Index, ListLiteral, Literal, MapLiteral, Message, Node, Select
from webhook.cel.values import INT_MAX


def complaints(
    text: str, tokens: list[Token], problems: Iterable[Diagnostic], reserved: frozenset[str]
) -> list[Diagnostic]:
    """All that the server says. `problems` are the lexer's; names that are `reserved` are none."""
    if not text:
        return [Diagnostic(BEFORE, each.message) for each in complaints(" ", tokens, problems, reserved)]
    of_values = [each for each in problems if not each.message.startswith("Syntax error")]
    found = [each for each in problems if each.message.startswith("Syntax error")]
    try:
        read = Recovery(text, tokens, found).read()
    except GaveUp:
        return found
    _Visitor(found, of_values, reserved).visit(read.get("e"))
    return found


class _Visitor:
    def __init__(self, problems: list[Diagnostic], of_values: list[Diagnostic], reserved: frozenset[str]) -> None:
        self.problems = problems
        self.of_values = of_values
        self.reserved = reserved

    def problem(self, at: int, message: str) -> Node:
        self.problems.append(Diagnostic(at, message))
        return _nothing(at)

    def visit(self, part: Part | None) -> Node:
        """The node of a part; of one that is not there, or was not begun, nothing, in front of everything."""
        while part is not None and not part.named.keys() & _ITSELF.get(part.rule, frozenset()):
            visit = _VISITS.get((part.rule, part.alternative))
            if visit is not None:
                return visit(self, part)
            if part.rule == "unary" and not part.alternative:
                return Literal(id=0, at=part.start.at, value="<<error>>", kind="string")
            part = part.get("e")
        return _OPERATIONS[part.rule](self, part) if part is not None else _nothing(BEFORE)

    # -- operators

    def conditional(self, part: Part) -> Node:
        operands = [self.visit(part.get(name)) for name in ("e", "e1", "e2")]
        return Call(id=0, at=part.get("op").at, function="_?_:_", target=None, arguments=tuple(operands))

    def chain(self, part: Part) -> Node:
        terms = [self.visit(each) for each in part.all("e")]
        for at, operator in enumerate(part.all("ops")):
            if at >= len(part.all("e1")):
                return self.problem(part.start.at, f"unexpected character, wanted '{operator.text}'")
            terms.append(self.visit(part.all("e1")[at]))
        operators = part.all("ops")
        # The server balances a chain, so that it stands at the operator in its middle.
        return Call(id=0, at=operators[len(operators) // 2].at, function="&&", target=None, arguments=tuple(terms))

    def operation(self, part: Part) -> Node:
        operands = (self.visit(part.get("left")), self.visit(part.get("right")))
        return Call(id=0, at=part.get("op").at, function=part.get("op").text, target=None, arguments=operands)

    def prefix(self, part: Part) -> Node:
        signs = part.all("ops")
        operand = self.visit(part.get("e"))
        if len(signs) % 2 == 0:
            return operand
        return Call(id=0, at=signs[0].at, function=signs[0].text, target=None, arguments=(operand,))

    # -- members

    def select(self, part: Part) -> Node:
        operand = self.visit(part.get("left"))
        name = part.get("id")
        if name is None:
            return _nothing(part.start.at)
        field = self.field(name, name.start.at)
        return Select(id=0, at=part.get("op").at, operand=operand, field=field, optional=part.get("opt") is not None)

    def field(self, name: Part, at: int) -> str:
        token = name.get("id")
        if token is None:
            self.problem(at, "unsupported ident kind")
            return ""
        self.value(token)
        return str(token.text.strip("`"))

    def called(self, part: Part) -> Node:
        target = self.visit(part.get("left"))
        if part.get("id") is None:
            return _nothing(part.start.at)
        return self.macro(part.get("open").at, target, part.get("id").text, self.arguments(part))

    def index(self, part: Part) -> Node:
        operand = self.visit(part.get("left"))
        if part.get("op") is None:
            return _nothing(part.start.at)
        key = self.visit(part.get("index"))
        return Index(id=0, at=part.get("op").at, operand=operand, key=key, optional=part.get("opt") is not None)

    def arguments(self, part: Part) -> tuple[Node, ...]:
        given = part.get("args")
        return tuple([self.visit(each) for each in given.all("e")]) if given is not None else ()

    def macro(self, at: int, target: Node | None, function: str, arguments: tuple[Node, ...]) -> Node:
        try:
            expanded = (
                expand_global(function, arguments, at, int)
                if target is None
                else expand_member(target, function, arguments, at, int)
            )
        except Unreachable:
            expanded = None  # nothing is checked
        except MacroError as error:
            return self.problem(error.at, error.message)
        return expanded or Call(id=0, at=at, function=function, target=target, arguments=arguments)

    # -- primaries

    def name(self, part: Part) -> Node:
        token = part.get("id")
        if token is None:
            return _nothing(part.start.at)
        if token.text in self.reserved:
            return self.problem(part.start.at, f"reserved identifier: {token.text}")
        written = f".{token.text}" if part.get("leadingDot") else token.text
        if part.alternative == "ident":
            return Ident(id=0, at=token.at, name=written)
        return self.macro(part.get("op").at if part.get("op") else BEFORE, None, written, self.arguments(part))

    def list(self, part: Part) -> Node:
        elements = part.get("elems")
        found = [self.visit(each.get("e")) for each in elements.all("elems")] if elements is not None else []
        return ListLiteral(id=0, at=part.get("op").at, elements=tuple(found))

    def map(self, part: Part) -> Node:
        entries = part.get("entries")
        if entries is not None:
            pairs = zip(entries.all("cols"), entries.all("keys"), entries.all("values"), strict=False)
            for _, key, value in pairs:
                self.visit(key.get("e"))
                self.visit(value)
        return MapLiteral(id=0, at=part.get("op").at, entries=())

    def message(self, part: Part) -> Node:
        entries = part.get("entries")
        if entries is not None:
            pairs = zip(entries.all("cols"), entries.all("keys"), entries.all("values"), strict=False)
            for _, key, value in pairs:
                name = key.get("id")
                if name is None or name.get("id") is None:
                    self.problem(entries.start.at, "unsupported ident kind")
                    continue
                self.value(name.get("id"))
                self.visit(value)
        at = part.get("op").at if part.get("op") else part.start.at
        return Message(id=0, at=at, name=".".join(each.text for each in part.all("ids")), fields=())

    def literal(self, part: Part) -> Node:
        token = part.get("tok")
        self.value(token, part.start.at)
        if token.kind == "int" and part.get("sign") is None and token.value > INT_MAX:
            self.problem(part.start.at, "invalid int literal")
        return Literal(id=0, at=part.start.at, value=None, kind="null")

    def value(self, token: Token, at: int | None = None) -> None:
        """What the lexer found wrong with what a token means."""
        for each in self.of_values:
            if each.at == token.at:
                self.problem(token.at if at is None else at, each.message)


def _nothing(at: int) -> Node:
    """What stands where nothing could be read: of no kind that a macro looks for."""
    return Literal(id=0, at=at, value=None, kind="null")


_ITSELF: Final = {
    "expr": frozenset(("op",)),
    "conditionalOr": frozenset(("ops",)),
    "conditionalAnd": frozenset(("ops",)),
    "relation": frozenset(("op",)),
    "calc": frozenset(("op",)),
}
"""By rule what it must have read to be more than its only part."""
_Visit = Callable[[_Visitor, Part], Node]
_OPERATIONS: Final[dict[str, _Visit]] = {
    "expr": _Visitor.conditional,
    "conditionalOr": _Visitor.chain,
    "conditionalAnd": _Visitor.chain,
    "relation": _Visitor.operation,
    "calc": _Visitor.operation,
}
_VISITS: Final[dict[tuple[str, str], _Visit]] = {
    ("unary", "not"): _Visitor.prefix,
    ("unary", "negate"): _Visitor.prefix,
    ("member", "select"): _Visitor.select,
    ("member", "call"): _Visitor.called,
    ("member", "index"): _Visitor.index,
    ("primary", "ident"): _Visitor.name,
    ("primary", "call"): _Visitor.name,
    ("primary", "list"): _Visitor.list,
    ("primary", "map"): _Visitor.map,
    ("primary", "message"): _Visitor.message,
    ("literal", "literal"): _Visitor.literal,
}
