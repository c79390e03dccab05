"""The server's grammar (`cel-go parser/gen/CEL.g4`) as states, for `recovery.py`: what a state waits for, and which way
leads on from one that has several.

Each rule is a net of states that ends in `END`. The states are those at which the server's generated parser (ANTLR 4)
looks whether the input fits, and the ways are chosen as it chooses them, with as many tokens as it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

EOF: Final = "<EOF>"
RULE_ENDS: Final = "<EPSILON>"
"""In the tokens that may follow within a rule: it may end, and what follows then is the caller's."""

_NAMED: Final = ("NUM_FLOAT", "NUM_INT", "NUM_UINT", "STRING", "BYTES", "IDENTIFIER", "ESC_IDENTIFIER")
TYPES: Final = (
    *(EOF, "==", "!=", "in", "<", "<=", ">=", ">", "&&", "||", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!"),
    *("?", ":", "+", "*", "/", "%", "true", "false", "null", *_NAMED),
)
"""Types of tokens in the order in which messages list them."""
_ORDER: Final = {type: at for at, type in enumerate(TYPES)}


def listed(types: set[str] | frozenset[str]) -> str:
    """The types as messages name them: `{']', ','}`, or the only one."""
    known = sorted(types, key=_ORDER.__getitem__)
    names = [type if type in _NAMED or type == EOF else f"'{type}'" for type in known]
    return f"{{{', '.join(names)}}}" if len(names) > 1 else names[0]


Look = Callable[[int], str]
"""The type of the n-th token from here; 1 is the next."""


class Unfit(Exception):
    """No way leads on; `tokens` have been looked at when that is known."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        super().__init__(tokens)


class State:
    """`kind`: `token` and `rule` take something and lead to `after`; `block`, `loop` and `plus` are where ways part,
    and `back` and `plus back` where an iteration ends; `name` begins an alternative of the rule, and `push` one whose
    left operand is what has been read; `end` is the end of the rule."""

    def __init__(self, kind: str, *, label: str = "", after: State | None = None) -> None:
        self.kind = kind
        self.label = label
        """What the rule calls the token or the part, or which alternative of the rule begins here."""
        self.after = after
        self.tokens: frozenset[str] = frozenset()
        self.rule = ""
        self.precedence = 0
        self.ways: list[State] = []
        self.choose: Callable[[Look, int], int] | None = None
        """Which of `ways`, by the tokens and the precedence; raises `Unfit`. Without it: the first that the next token
        fits, else the last."""
        self._first: frozenset[str] | None = None

    def first(self) -> frozenset[str]:
        """What may stand here, `RULE_ENDS` included."""
        if self._first is None:
            self._first = self._found()
        return self._first

    def _found(self) -> frozenset[str]:
        if self.kind == "token":
            return self.tokens
        if self.kind == "rule":
            return STARTS[self.rule].first()
        if self.kind == "end":
            return frozenset((RULE_ENDS,))
        seen: set[int] = set()
        found: set[str] = set()
        # An iteration leads back to where it began.
        waiting = [self]
        while waiting:
            state = waiting.pop()
            if id(state) in seen:
                continue
            seen.add(id(state))
            if state.ways or state.kind in ("name", "push"):
                waiting += state.ways or [state.after or END]
            else:
                found |= state.first()
        return frozenset(found)


END: Final = State("end")
Piece = Callable[[State], State]
"""Makes the states of a piece of a rule, given the state behind it."""


def _token(*types: str, label: str = "") -> Piece:
    def made(after: State) -> State:
        state = State("token", label=label, after=after)
        state.tokens = frozenset(types)
        return state

    return made


def _rule(name: str, label: str = "", precedence: int = 0) -> Piece:
    def made(after: State) -> State:
        state = State("rule", label=label, after=after)
        state.rule, state.precedence = name, precedence
        return state

    return made


def _row(*pieces: Piece) -> Piece:
    def made(after: State) -> State:
        for piece in reversed(pieces):
            after = piece(after)
        return after

    return made


def _named(label: str, *pieces: Piece, push: bool = False) -> Piece:
    """An alternative of a rule that has a name. `push`: what has been read becomes its left operand."""

    def made(after: State) -> State:
        return State("push" if push else "name", label=label, after=_row(*pieces)(after))

    return made


def _maybe(*pieces: Piece) -> Piece:
    return _either(_row(*pieces), lambda after: after)


def _either(*pieces: Piece, choose: Callable[[Look, int], int] | None = None) -> Piece:
    def made(after: State) -> State:
        state = State("block", after=after)
        state.ways = [piece(after) for piece in pieces]
        state.choose = choose
        return state

    return made


def _repeated(*pieces: Piece, choose: Callable[[Look, int], int] | None = None) -> Piece:
    """None or several."""

    def made(after: State) -> State:
        entry, back = State("loop", after=after), State("back", after=after)
        entry.ways = back.ways = [_row(*pieces)(back), after]
        entry.choose = back.choose = choose
        return entry

    return made


def _some(*pieces: Piece, choose: Callable[[Look, int], int] | None = None) -> Piece:
    """One or several."""

    def made(after: State) -> State:
        entry, back = State("plus", after=after), State("plus back", after=after)
        body = _row(*pieces)(back)
        entry.ways, back.ways, back.choose = [body], [body, after], choose
        return entry

    return made


# Where more than the next token decides


def _before(*types: str) -> Callable[[Look, int], int]:
    """Another one of a list, if behind the comma stands what may begin one."""
    return lambda look, _: int(look(1) != "," or look(2) not in (*types,))


_NUMBERS: Final = ("NUM_INT", "NUM_FLOAT")
_PRIMARIES: Final = (
    *("[", "{", "(", ".", "true", "false", "null"),
    *("NUM_FLOAT", "NUM_INT", "NUM_UINT", "STRING", "BYTES", "IDENTIFIER"),
)
_EXPRESSIONS: Final = (*_PRIMARIES, "-", "!")


def _unary(look: Look, _: int) -> int:
    if look(1) == "!":
        return 1
    if look(1) == "-" and look(2) in _NUMBERS:
        return 0  # the minus belongs to the number
    return 0 if _minus(look, 0) else 2


def _minus(look: Look, _: int) -> int:
    """Another minus, or what it is of."""
    if look(1) in _PRIMARIES:
        return 1
    if look(1) != "-":
        raise Unfit(1)
    if look(2) != "-" and look(2) not in _PRIMARIES:
        raise Unfit(2)
    return 0


def _member(look: Look, _: int) -> int:
    if look(1) == "[":
        return 2
    if look(2) in ("?", "ESC_IDENTIFIER"):
        return 0
    if look(2) != "IDENTIFIER":
        raise Unfit(2)
    return int(look(3) == "(")


def _primary(look: Look, _: int) -> int:
    if look(1) not in (".", "IDENTIFIER"):
        if look(1) != "-" and look(1) not in _PRIMARIES:
            raise Unfit(1)
        return {"(": 2, "[": 3, "{": 4}.get(look(1), 6)
    at = 1 + (look(1) == ".")
    if look(at) != "IDENTIFIER":
        raise Unfit(at)
    if look(at + 1) == "(":
        return 1
    while look(at + 1) == "." and look(at + 2) == "IDENTIFIER":
        at += 2
    return 5 if look(at + 1) == "{" else 0


def _literal(look: Look, _: int) -> int:
    number = look(2) if look(1) == "-" else look(1)
    types = ("NUM_INT", "NUM_UINT", "NUM_FLOAT", "STRING", "BYTES", "true", "false", "null")
    if number not in types or (look(1) == "-" and number not in _NUMBERS):
        raise Unfit(2)
    return types.index(number)


def _operators(*levels: tuple[int, Sequence[str]]) -> Callable[[Look, int], int]:
    """Another operand, if an operator of at least the precedence stands here."""
    return lambda look, precedence: int(
        not any(look(1) in operators and level >= precedence for level, operators in levels)
    )


_RELATIONS: Final = ("==", "!=", "in", "<", "<=", ">=", ">")
_PRODUCTS: Final = ("*", "/", "%")
_CALL: Final = (_token("("), _maybe(_rule("exprList", "args")), _token(")"))
_IDENTIFIER: Final = _token("IDENTIFIER", label="id")
_DOT: Final = _token(".", label="leadingDot")


def _pairs(key: Piece, again: Sequence[str]) -> Piece:
    pair = (key, _token(":", label="cols"), _rule("expr", "values"))
    return _row(*pair, _repeated(_token(","), *pair, choose=_before(*again)))


_RULES: Final[dict[str, Piece]] = {
    "start": _row(_rule("expr", "e"), _token(EOF)),
    "expr": _row(
        _rule("conditionalOr", "e"),
        _maybe(_token("?", label="op"), _rule("conditionalOr", "e1"), _token(":"), _rule("expr", "e2")),
    ),
    "conditionalOr": _row(
        _rule("conditionalAnd", "e"), _repeated(_token("||", label="ops"), _rule("conditionalAnd", "e1"))
    ),
    "conditionalAnd": _row(_rule("relation", "e"), _repeated(_token("&&", label="ops"), _rule("relation", "e1"))),
    "relation": _row(
        _rule("calc", "e"),
        _repeated(
            _named("", _token(*_RELATIONS, label="op"), _rule("relation", "right", 2), push=True),
            choose=_operators((1, _RELATIONS)),
        ),
    ),
    "calc": _row(
        _rule("unary", "e"),
        _repeated(
            _either(
                _named("", _token(*_PRODUCTS, label="op"), _rule("calc", "right", 3), push=True),
                _named("", _token("+", "-", label="op"), _rule("calc", "right", 2), push=True),
            ),
            choose=_operators((2, _PRODUCTS), (1, ("+", "-"))),
        ),
    ),
    "unary": _either(
        _named("member", _rule("member", "e")),
        _named("not", _some(_token("!", label="ops")), _rule("member", "e")),
        _named("negate", _some(_token("-", label="ops"), choose=_minus), _rule("member", "e")),
        choose=_unary,
    ),
    "member": _named(
        "primary",
        _rule("primary", "e"),
        _repeated(
            _either(
                _named(
                    "select",
                    _token(".", label="op"),
                    _maybe(_token("?", label="opt")),
                    _rule("escapeIdent", "id"),
                    push=True,
                ),
                _named(
                    "call",
                    _token(".", label="op"),
                    _IDENTIFIER,
                    _token("(", label="open"),
                    *_CALL[1:],
                    push=True,
                ),
                _named(
                    "index",
                    _token("[", label="op"),
                    _maybe(_token("?", label="opt")),
                    _rule("expr", "index"),
                    _token("]"),
                    push=True,
                ),
                choose=_member,
            ),
        ),
    ),
    "primary": _either(
        _named("ident", _maybe(_DOT), _IDENTIFIER),
        _named("call", _maybe(_DOT), _IDENTIFIER, _token("(", label="op"), *_CALL[1:]),
        _named("nested", _token("("), _rule("expr", "e"), _token(")")),
        _named("list", _token("[", label="op"), _maybe(_rule("listInit", "elems")), _maybe(_token(",")), _token("]")),
        _named(
            "map",
            _token("{", label="op"),
            _maybe(_rule("mapInitializerList", "entries")),
            _maybe(_token(",")),
            _token("}"),
        ),
        _named(
            "message",
            _maybe(_DOT),
            _token("IDENTIFIER", label="ids"),
            _repeated(_token("."), _token("IDENTIFIER", label="ids")),
            _token("{", label="op"),
            _maybe(_rule("fieldInitializerList", "entries")),
            _maybe(_token(",")),
            _token("}"),
        ),
        _named("literal", _rule("literal", "e")),
        choose=_primary,
    ),
    "exprList": _row(_rule("expr", "e"), _repeated(_token(","), _rule("expr", "e"))),
    "listInit": _row(
        _rule("optExpr", "elems"),
        _repeated(_token(","), _rule("optExpr", "elems"), choose=_before("?", *_EXPRESSIONS)),
    ),
    "fieldInitializerList": _pairs(_rule("optField", "keys"), ("?", "IDENTIFIER", "ESC_IDENTIFIER")),
    "optField": _row(_maybe(_token("?", label="opt")), _rule("escapeIdent", "id")),
    "mapInitializerList": _pairs(_rule("optExpr", "keys"), ("?", *_EXPRESSIONS)),
    "escapeIdent": _either(
        _named("simple", _IDENTIFIER),
        _named("escaped", _token("ESC_IDENTIFIER", label="id")),
    ),
    "optExpr": _row(_maybe(_token("?", label="opt")), _rule("expr", "e")),
    "literal": _either(
        _named("literal", _maybe(_token("-", label="sign")), _token("NUM_INT", label="tok")),
        _named("literal", _token("NUM_UINT", label="tok")),
        _named("literal", _maybe(_token("-", label="sign")), _token("NUM_FLOAT", label="tok")),
        *(_named("literal", _token(type, label="tok")) for type in ("STRING", "BYTES", "true", "false", "null")),
        choose=_literal,
    ),
}
STARTS: Final = {name: piece(END) for name, piece in _RULES.items()}
"""Where each rule begins."""
