"""A tree back to CEL text: for people who are shown a part of an expression, and for expressions that were changed.

What comes out parses to the same tree; spaces, comments and needless parentheses are not kept. Knows no types.
"""

from __future__ import annotations

import json
from typing import Any, Final

from webhook.cel.text import double_text
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
)

_TERNARY, _OR, _AND, _RELATION, _SUM, _PRODUCT, _UNARY, _MEMBER, _PRIMARY = range(9)
_BINARY: Final = {
    **{f"_{symbol}_": (symbol, _RELATION) for symbol in ("==", "!=", "<", "<=", ">", ">=")},
    "@in": ("in", _RELATION),
    **{f"_{symbol}_": (symbol, _SUM) for symbol in "+-"},
    **{f"_{symbol}_": (symbol, _PRODUCT) for symbol in "*/%"},
}
_PREFIX: Final = {"!_": "!", "-_": "-"}
_MACROS: Final = {"existsOne": "exists_one"}
_NO_FIELDS: Final = ("true", "false", "null", "in")


def unparse(node: Node) -> str:
    """The text of a node."""
    return _written(node)[0]


def _written(node: Node) -> tuple[str, int]:
    """The text, and how tightly it holds together."""
    match node:
        case Literal():
            text = _literal(node)
            return text, _UNARY if text.startswith("-") else _PRIMARY
        case Ident():
            return node.name, _PRIMARY
        case Select():
            return f"{_inside(node.operand, _MEMBER)}.{'?' * node.optional}{_field(node.field)}", _MEMBER
        case Has():
            return f"has({_inside(node.operand, _MEMBER)}.{_field(node.field)})", _PRIMARY
        case Index():
            return f"{_inside(node.operand, _MEMBER)}[{'?' * node.optional}{unparse(node.key)}]", _MEMBER
        case Call():
            return _call(node)
        case Logic():
            level = _AND if node.is_and else _OR
            return (" && " if node.is_and else " || ").join(_inside(term, level + 1) for term in node.terms), level
        case Conditional():
            condition, then = _inside(node.condition, _OR), _inside(node.then, _OR)
            return f"{condition} ? {then} : {unparse(node.otherwise)}", _TERNARY
        case ListLiteral():
            elements = [f"{'?' * (at in node.optional)}{unparse(each)}" for at, each in enumerate(node.elements)]
            return f"[{', '.join(elements)}]", _PRIMARY
        case MapLiteral():
            entries = [f"{'?' * each.optional}{unparse(each.key)}: {unparse(each.value)}" for each in node.entries]
            return f"{{{', '.join(entries)}}}", _PRIMARY
        case Fold():
            return _fold(node), _MEMBER
        case Bind():
            name = "optFlatMap" if node.flat else "optMap"
            return f"{_inside(node.target, _MEMBER)}.{name}({node.variable}, {unparse(node.body)})", _MEMBER
        case SortBy(keys=keys):
            body = "" if keys.body is None else unparse(keys.body)
            return f"{_inside(node.target, _MEMBER)}.sortBy({keys.variable}, {body})", _MEMBER
        case Message():
            fields = [f"{'?' * each.optional}{_field(each.name)}: {unparse(each.value)}" for each in node.fields]
            return f"{node.name}{{{', '.join(fields)}}}", _PRIMARY


def _inside(node: Node, level: int) -> str:
    """The node where something at least as tight as `level` must stand."""
    text, found = _written(node)
    return text if found >= level else f"({text})"


def _call(node: Call) -> tuple[str, int]:
    if node.function in _BINARY and node.target is None and len(node.arguments) == 2:
        symbol, level = _BINARY[node.function]
        one, other = node.arguments
        return f"{_inside(one, level)} {symbol} {_inside(other, level + 1)}", level
    if node.function in _PREFIX and node.target is None:
        # Two in a row would cancel each other, and a minus would become part of a literal.
        operand = node.arguments[0]
        tight = _MEMBER if not isinstance(operand, Literal) or node.function == "!_" else _PRIMARY + 1
        return f"{_PREFIX[node.function]}{_inside(operand, tight)}", _UNARY
    arguments = ", ".join(map(unparse, node.arguments))
    if node.target is None:
        return f"{node.function}({arguments})", _PRIMARY
    return f"{_inside(node.target, _MEMBER)}.{node.function}({arguments})", _MEMBER


def _fold(node: Fold) -> str:
    arguments = [name for name in (node.variable, node.second) if name]
    arguments += [unparse(part) for part in (node.predicate, node.body) if part is not None]
    macro = _MACROS.get(node.macro, node.macro)
    return f"{_inside(node.range, _MEMBER)}.{macro}({', '.join(arguments)})"


def _field(name: str) -> str:
    return name if name.isascii() and name.isidentifier() and name not in _NO_FIELDS else f"`{name}`"


def _literal(node: Literal) -> str:
    value: Any = node.value
    match node.kind:
        case "null":
            return "null"
        case "bool":
            return "true" if value else "false"
        case "uint":
            return f"{int(value)}u"
        case "double":
            text = double_text(value)
            return text if any(character in text for character in ".e") else f"{text}.0"
        case "string":
            return _quoted(value)
        case "bytes":
            return "b'" + "".join(f"\\x{byte:02x}" for byte in value) + "'"
    return str(value)


def _quoted(text: str) -> str:
    """In single quotes, as people write CEL; in double ones where that needs fewer backslashes."""
    if all(character.isprintable() and character not in "'\\" for character in text):
        return f"'{text}'"
    if "'" not in text and "\\" in text and all(map(str.isprintable, text)):
        return f"r'{text}'"
    return "".join(map(_escaped, json.dumps(text, ensure_ascii=False)))


def _escaped(character: str) -> str:
    code = ord(character)
    if character.isprintable() or 0xD800 <= code <= 0xDFFF:  # half a pair has no escape
        return character
    return f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}"
