"""Lexer and parser: every literal, positions in code points, limits, and the server's texts for what is wrong."""

from __future__ import annotations

import pytest

from webhook.cel.diagnostics import Failed, position
from webhook.cel.parser import parse
from webhook.cel.recursion import room
from webhook.cel.tree import Call, Fold, Literal, Logic, Node, Select
from webhook.cel.values import Uint

STARTS = (
    "'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER"
)


def problems(text: str) -> list[tuple[int, str]]:
    """(column from 1, message) of what is wrong."""
    with pytest.raises(Failed) as failed, room():
        parse(text)
    return [(problem.at + 1, problem.message) for problem in failed.value.diagnostics]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0x1F", 31),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551615u", Uint(2**64 - 1)),
        ("0xFFU", Uint(255)),
        ("1.5e-3", 0.0015),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("null", None),
        ("true", True),
        (r"'\a\b\f\n\r\t\v\\\'\"\`\?'", "\a\b\f\n\r\t\v\\'\"`?"),
        (r"'\x41\u00e9\U0001F600\101'", "Aé\U0001f600A"),
        (r"r'\n'", r"\n"),
        ('R"""a\n"b"\\"""', 'a\n"b"\\'),
        ("'''it's\r\ntwo'''", "it's\ntwo"),
        ("''", ""),
        (r"b'\xff\377é'", b"\xff\xff\xc3\xa9"),
        (r"br'\x'", rb"\x"),
        ("1 // one\n", 1),
    ],
)
def test_a_literal(text: str, value: object) -> None:
    node = parse(text)
    assert isinstance(node, Literal)
    assert node.value == value
    assert type(node.value) is type(value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("9223372036854775808", [(1, "invalid int literal")]),
        ("18446744073709551616u", [(1, "invalid uint literal")]),
        ("1e400", [(1, "invalid double literal")]),
        (r"'\ud800'", [(1, "invalid unicode code point")]),
        (r"'\U00110000'", [(1, "invalid unicode code point")]),
        (r"b'\u0041'", [(1, "unable to unescape string")]),
        ("a.b + package", [(7, "reserved identifier: package")]),
        ("(1", [(3, "Syntax error: missing ')' at '<EOF>'")]),
        ("[1, 2", [(6, "Syntax error: mismatched input '<EOF>' expecting {']', ','}")]),
        ("1 +", [(4, f"Syntax error: mismatched input '<EOF>' expecting {{{STARTS}}}")]),
        ("1 === 1", [(5, "Syntax error: token recognition error at: '= '")]),
        ("a.true", [(3, "Syntax error: mismatched input 'true' expecting IDENTIFIER")]),
        ("has(a[0])", [(6, "invalid argument to has() macro")]),
        ("[1].all(x.y, true)", [(10, "argument must be a simple name")]),
        ("[1].map(1, true)", [(9, "argument is not an identifier")]),
        ("[1].all(i, i, true)", [(12, "duplicate variable name: i")]),
        ("[1].all(__result__, true)", [(9, "iteration variable overwrites accumulator variable")]),
        ("a.optMap(b.c, 1)", [(11, "optMap() variable name must be a simple identifier")]),
    ],
)
def test_what_is_wrong_and_where(text: str, found: list[tuple[int, str]]) -> None:
    assert problems(text) == found


def test_every_bad_token_is_reported() -> None:
    assert problems(r"'\q' + '\z' + x") == [
        (1, r"Syntax error: token recognition error at: ''\q'"),
        (9, r"Syntax error: token recognition error at: '\'"),
        (10, "Syntax error: extraneous input 'z' expecting <EOF>"),
        (11, "Syntax error: token recognition error at: '' + x'"),
    ]


def test_positions_count_code_points_and_lines() -> None:
    text = "'😀é' +\n  package"
    with pytest.raises(Failed) as failed:
        parse(text)
    assert position(text, failed.value.diagnostics[0].at) == (2, 3, "  package")


def test_precedence() -> None:
    def shape(node: Node) -> str:
        match node:
            case Call(target=None):
                return f"({node.function.strip('_')} {' '.join(map(shape, node.arguments))})"
            case Logic():
                return f"({'and' if node.is_and else 'or'} {' '.join(map(shape, node.terms))})"
            case Literal():
                return str(node.value)
            case Select():
                return f"{shape(node.operand)}.{node.field}"
        return getattr(node, "name", "?")

    assert shape(parse("a || b && c || d")) == "(or a (and b c) d)"
    assert shape(parse("1 < 2 == true")) == "(== (< 1 2) True)"
    assert shape(parse("1 - 2 - 3 * 4 % 5")) == "(- (- 1 2) (% (* 3 4) 5))"
    assert shape(parse("!!!a.b")) == "(! a.b)"
    assert shape(parse("--1")) == "1"
    assert shape(parse("---1")) == "(- 1)"
    assert shape(parse("- - a")) == "a"
    assert shape(parse("1 in a in b")) == "(@in (@in 1 a) b)"


@pytest.mark.parametrize(
    "text", ["[1, 2,]", "{1: 2,}", "[?a]", "{?'k': a}", "a[?0]", "a.?b", ".a.b", "a.`b-c/d.e`", "T{f: 1,}"]
)
def test_syntax_of_all_kinds(text: str) -> None:
    parse(text)


def test_macros_are_known_by_name_style_and_arity() -> None:
    assert isinstance(parse("a.exists_one(x, x)"), Fold)
    assert isinstance(parse("a.transformMap(k, v, v)"), Fold)
    assert isinstance(parse("a.all(x)"), Call)
    assert isinstance(parse("all(a, x, x)"), Call)


def test_limits() -> None:
    parse("(" * 249 + "1" + ")" * 249)
    parse("1" + "+1" * 249)
    parse("||".join(["a"] * 10_000))
    recursion = [(0, "expression recursion limit exceeded: 250")]
    assert problems("(" * 250 + "1" + ")" * 250) == recursion
    assert problems("(" * 10_000 + "1" + ")" * 10_000) == recursion
    assert problems("[" * 10_000) == recursion
    assert problems("a" + ".b" * 10_000) == recursion
    assert problems("1" + "-1" * 10_000) == recursion
    assert problems("a?b:" * 10_000 + "c") == recursion
    parse("!" * 10_000 + "a")
    assert problems("x" * 100_001) == [(1, "expression code point size exceeds limit: size: 100001, limit 100000")]
    parse("'" + "😀" * 99_000 + "'")
