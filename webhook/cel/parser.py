"""Tokens to a tree, by operator precedence. Macros are recognised here, as on the server. What is wrong with a text
that is no CEL is found by `misread.py`.

Limits are the server's (`cel-go parser/parser.go`): each rule of its grammar may be active 250 times at once. Two
Python frames a level of nesting keep that well inside Python's own limit.
"""

from __future__ import annotations

from typing import Final

from webhook.cel.diagnostics import Diagnostic, Failed
from webhook.cel.lexer import UNREADABLE, Token, tokens
from webhook.cel.macros import MacroError, expand_global, expand_member
from webhook.cel.tree import (
    Call,
    Conditional,
    Entry,
    Field,
    Ident,
    Index,
    ListLiteral,
    Literal,
    Logic,
    MapLiteral,
    Message,
    Node,
    Select,
    qualified_name,
)
from webhook.cel.values import INT_MAX

RECURSION_LIMIT: Final = 250
CHAIN: Final = 64
"""Terms in one `Logic`: longer chains become chains of chains, which mean the same, errors included. Python's
compiler takes time that is quadratic in the jumps of a function."""

RESERVED: Final = frozenset(
    (
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "package",
        "namespace",
        "null",
        "return",
        "true",
        "var",
        "void",
        "while",
    )
)
_LEVELS: Final = {
    "||": 1,
    "&&": 2,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), 3),
    "+": 4,
    "-": 4,
    "*": 5,
    "/": 5,
    "%": 5,
}
_FUNCTIONS: Final = {"in": "@in"} | {op: f"_{op}_" for op in _LEVELS if op not in ("in", "||", "&&")}
_CONSTANTS: Final = {"true": True, "false": False, "null": None}


def parse(text: str, *, quoted_names: bool = True) -> Node:
    """The tree of an expression. Raises `Failed` with every problem found. `quoted_names`: as in `` x.`a-b` ``."""
    problems: list[Diagnostic] = []
    found = tokens(text, problems)
    if not quoted_names:
        problems.extend(Diagnostic(each.at, "unsupported syntax: '`'") for each in found if each.kind == "quoted")
    parser = _Parser(found, list(problems))
    try:
        node = parser.whole()
    except _NotCel:
        from webhook.cel.misread import complaints  # most policies never come to it

        raise Failed(complaints(text, found, problems, RESERVED)) from None
    if parser.problems:
        raise Failed(parser.problems)
    return node


class _NotCel(Exception):
    """The grammar does not allow the token that is next."""


class _Parser:
    def __init__(self, found: list[Token], problems: list[Diagnostic]) -> None:
        self.tokens = found
        self.problems = problems
        self.index = 0
        self.token = found[0]
        self.ids = 0
        # How many activations of the grammar's rules are open.
        self.expressions = 0
        self.relations = 0
        self.sums = 0
        self.members = 0

    def whole(self) -> Node:
        node = self.expression(0)
        if self.token.kind != "end":
            raise _NotCel
        return node

    # -- tokens

    def advance(self) -> Token:
        token = self.token
        self.index += 1
        self.token = self.tokens[self.index]
        return token

    def accept(self, kind: str) -> Token | None:
        return self.advance() if self.token.kind == kind else None

    def expect(self, *kinds: str) -> Token:
        if self.token.kind not in kinds:
            raise _NotCel
        return self.advance()

    def id(self) -> int:
        self.ids += 1
        return self.ids

    def bound(self, active: int) -> None:
        if active > RECURSION_LIMIT:
            message = f"expression recursion limit exceeded: {RECURSION_LIMIT}"
            unread = [each for each in self.problems if each.message.startswith(UNREADABLE)]
            raise Failed([*unread, Diagnostic(-1, message)])

    # -- grammar

    def expression(self, level: int) -> Node:
        """What binds at least as tightly as `level`; 0 is a whole expression."""
        whole = level == 0
        if whole:
            self.expressions += 1
            self.bound(self.expressions)
        relations, sums = self.relations, self.sums
        left = self.operand()
        while True:
            operator = self.token
            binds = _LEVELS.get(operator.kind, -1)
            if binds < max(level, 1):
                break
            self.advance()
            if binds <= 2:
                left = self.chain(left, operator, binds)
                continue
            if binds == 3:
                self.relations += 1
                self.bound(self.relations)
            else:
                self.sums += 1
                self.bound(self.sums)
            right = self.expression(binds + 1)
            left = Call(
                id=self.id(), at=operator.at, function=_FUNCTIONS[operator.kind], target=None, arguments=(left, right)
            )
        self.relations, self.sums = relations, sums
        if whole and self.token.kind == "?":
            question = self.advance()
            then = self.expression(1)
            self.expect(":")
            otherwise = self.expression(0)
            left = Conditional(id=self.id(), at=question.at, condition=left, then=then, otherwise=otherwise)
        if whole:
            self.expressions -= 1
        return left

    def chain(self, left: Node, operator: Token, binds: int) -> Node:
        operators = [operator]
        terms = [left, self.expression(binds + 1)]
        while self.token.kind == operator.kind:
            operators.append(self.advance())
            terms.append(self.expression(binds + 1))
        # The server balances a chain, so that it stands at the operator in its middle.
        middle = operators[len(operators) // 2]
        while len(terms) > CHAIN:
            parts = [terms[start : start + CHAIN] for start in range(0, len(terms), CHAIN)]
            terms = [self.logic(middle, part) if len(part) > 1 else part[0] for part in parts]
        return self.logic(middle, terms)

    def logic(self, operator: Token, terms: list[Node]) -> Node:
        return Logic(id=self.id(), at=operator.at, is_and=operator.kind == "&&", terms=tuple(terms))

    def operand(self) -> Node:
        """Prefix operators, a primary, and what is attached to it."""
        members = self.members
        first = self.token
        negations = 0
        if first.kind in ("!", "-"):
            while self.token.kind == first.kind:
                self.advance()
                negations += 1
            if first.kind == "-" and negations == 1 and self.token.kind in ("int", "double"):
                # The minus belongs to the literal.
                negations = 0
                self.index -= 1
                self.token = self.tokens[self.index]
        node = self.member(self.primary())
        self.members = members
        if negations % 2:
            name = "!_" if first.kind == "!" else "-_"
            node = Call(id=self.id(), at=first.at, function=name, target=None, arguments=(node,))
        return node

    def primary(self) -> Node:
        token = self.token
        match token.kind:
            case "name":
                if token.text in _CONSTANTS:
                    self.advance()
                    value = _CONSTANTS[token.text]
                    kind = "null" if value is None else "bool"
                    return Literal(id=self.id(), at=token.at, value=value, kind=kind)
                return self.name()
            case "string" | "bytes" | "double" | "uint":
                self.advance()
                return Literal(id=self.id(), at=token.at, value=token.value, kind=token.kind)
            case "int" | "-":
                return self.number()
            case "(":
                self.advance()
                node = self.expression(0)
                self.expect(")")
                return node
            case ".":
                dot = self.advance()
                if self.token.kind != "name" or self.token.text in _CONSTANTS:
                    raise _NotCel
                return self.name(dot)
            case "[":
                return self.list()
            case "{":
                return self.map()
        raise _NotCel

    def number(self) -> Node:
        sign = self.accept("-")
        token = self.token
        at = sign.at if sign else token.at
        if sign:
            # What is wrong with the number is said of its sign.
            self.problems[:] = [Diagnostic(at, each.message) if each.at == token.at else each for each in self.problems]
        if token.kind == "int" and not sign and token.value > INT_MAX:
            self.problems.append(Diagnostic(at, "invalid int literal"))
        if token.kind not in ("int", "double"):
            raise _NotCel
        self.advance()
        return Literal(id=self.id(), at=at, value=-token.value if sign else token.value, kind=token.kind)

    def name(self, dot: Token | None = None) -> Node:
        """A name, or a call of a global function."""
        token = self.advance()
        if token.text in RESERVED and self.token.kind != "{":
            self.problems.append(Diagnostic((dot or token).at, f"reserved identifier: {token.text}"))
            if self.token.kind != "(":
                return self.nothing((dot or token).at)
        written = f".{token.text}" if dot else token.text
        if self.token.kind != "(":
            return Ident(id=self.id(), at=token.at, name=written)
        return self.called(None, written)

    def macro(self, at: int, target: Node | None, function: str, arguments: tuple[Node, ...]) -> Node:
        try:
            expanded = (
                expand_global(function, arguments, at, self.id)
                if target is None
                else expand_member(target, function, arguments, at, self.id)
            )
        except MacroError as error:
            self.problems.append(Diagnostic(error.at, error.message))
            return self.nothing(error.at)
        if expanded is not None:
            return expanded
        return Call(id=self.id(), at=at, function=function, target=target, arguments=arguments)

    def nothing(self, at: int) -> Node:
        """What stands where a mistake is: what is around it may complain of it again."""
        return Literal(id=self.id(), at=at, kind="null", value=None)

    def member(self, node: Node) -> Node:
        while True:
            match self.token.kind:
                case ".":
                    node = self.dotted(node)
                case "[":
                    bracket = self.advance()
                    optional = self.accept("?") is not None
                    key = self.expression(0)
                    self.expect("]")
                    node = Index(id=self.id(), at=bracket.at, operand=node, key=key, optional=optional)
                case "{" if (name := qualified_name(node)) is not None:
                    node = self.message(name)
                case _:
                    return node
            self.members += 1
            self.bound(self.members + 1)

    def dotted(self, node: Node) -> Node:
        dot = self.advance()
        optional = self.accept("?") is not None
        token = self.token
        if token.kind not in ("name", "quoted") or token.text in _CONSTANTS:
            raise _NotCel
        self.advance()
        field = token.text.strip("`")
        if optional or token.kind == "quoted" or self.token.kind != "(":
            return Select(id=self.id(), at=dot.at, operand=node, field=field, optional=optional)
        return self.called(node, field)

    def called(self, target: Node | None, function: str) -> Node:
        paren = self.expect("(")
        found: list[Node] = []
        while self.token.kind != ")" or found:
            found.append(self.expression(0))
            if self.token.kind != ",":
                break
            self.advance()
        self.expect(")")
        return self.macro(paren.at, target, function, tuple(found))

    def list(self) -> Node:
        bracket = self.expect("[")
        elements: list[Node] = []
        optional: set[int] = set()
        self.lone_comma("]")
        while self.token.kind != "]":
            if self.accept("?"):
                optional.add(len(elements))
            elements.append(self.expression(0))
            if self.token.kind != "]":
                self.expect(",")
        self.advance()
        return ListLiteral(id=self.id(), at=bracket.at, elements=tuple(elements), optional=frozenset(optional))

    def lone_comma(self, close: str) -> None:
        """The comma of `[,]` and `{,}`, which the server's grammar lets pass."""
        if self.accept(",") and self.token.kind != close:
            raise _NotCel

    def map(self) -> Node:
        brace = self.expect("{")
        entries: list[Entry] = []
        self.lone_comma("}")
        while self.token.kind != "}":
            optional = self.accept("?") is not None
            key = self.expression(0)
            colon = self.expect(":")
            entries.append(Entry(colon.at, key, self.expression(0), optional))
            if self.token.kind != "}":
                self.expect(",")
        self.advance()
        return MapLiteral(id=self.id(), at=brace.at, entries=tuple(entries))

    def message(self, name: str) -> Node:
        at = self.expect("{").at
        fields: list[Field] = []
        self.lone_comma("}")
        while self.token.kind != "}":
            optional = self.accept("?") is not None
            field = self.expect("name", "quoted").text.strip("`")
            colon = self.expect(":")
            fields.append(Field(colon.at, field, self.expression(0), optional))
            if self.token.kind != "}":
                self.expect(",")
        self.advance()
        return Message(id=self.id(), at=at, name=name, fields=tuple(fields))
