"""Small changes to a policy's expressions, each of which its cases should notice: negations, lost clauses, flipped
comparisons, boundaries off by one, `all` for `exists`, and match conditions and validations that are not there.

Makes changed policies; judges none (`mutation.py` does).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from webhook.cel.diagnostics import Failed, position
from webhook.cel.facts import children
from webhook.cel.parser import parse
from webhook.cel.tree import Call, Conditional, Entry, Fold, Has, Literal, Logic, Node
from webhook.cel.unparse import unparse
from webhook.check.why import start
from webhook.errors import Problem
from webhook.manifest.fields import PolicySpec
from webhook.yamlfile import Steps, path_text

_FLIPPED: Final = {"_==_": "_!=_", "_!=_": "_==_", "_<_": "_>=_", "_>=_": "_<_", "_>_": "_<=_", "_<=_": "_>_"}
_SHIFTED: Final = {"_<_": "_<=_", "_<=_": "_<_", "_>_": "_>=_", "_>=_": "_>_"}
_NARROWED: Final = {"_<_": -1, "_<=_": 1, "_>_": 1, "_>=_": -1}
"""By how much a number on the right moves for the boundary that `_SHIFTED` does not try."""
_OPPOSITE: Final = {"exists": "all", "all": "exists"}
_OPERATORS: Final = frozenset((*_FLIPPED, "!_"))
_PARTS: Final = ("conditions", "variables", "validations", "audit_annotations")


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """One changed policy."""

    spec: PolicySpec
    place: Problem
    """Where the change is, and what it is, for people."""
    text: str
    """The expression after the change."""

    @property
    def name(self) -> str:
        """How case files call it."""
        return f"{self.place.path}: {self.place.message}"


class Change(msgspec.Struct, frozen=True):
    """One way to change a tree."""

    node: Node
    """What is replaced; its place is shown."""
    by: Node
    what: str


def mutants(spec: PolicySpec) -> Iterator[Mutant]:
    """Every changed policy, in the order of the file."""
    for part in _PARTS:
        for index, each in enumerate(getattr(spec, part)):
            steps = (*each.steps, "expression") if part == "validations" else each.steps
            yield from _gone(spec, part, index, steps)
            yield from _changed(spec, part, index, "expression", steps)
            if part == "validations" and each.message_expression:
                yield from _changed(spec, part, index, "message_expression", (*each.steps, "messageExpression"))


def _gone(spec: PolicySpec, part: str, index: int, steps: Steps) -> Iterator[Mutant]:
    """A condition or validation that is not there, or says the opposite."""
    if part not in ("conditions", "validations"):
        return
    name = "match condition" if part == "conditions" else "validation"
    text = getattr(spec, part)[index].expression
    tree = _parsed(text)
    if tree is None:
        return
    yield _mutant(spec, part, index, "expression", steps, "true", start(tree), f"the {name} is not there")
    negated = unparse(_negated(tree))
    yield _mutant(spec, part, index, "expression", steps, negated, start(tree), f"the {name} is negated")


def _changed(spec: PolicySpec, part: str, index: int, field: str, steps: Steps) -> Iterator[Mutant]:
    tree = _parsed(getattr(getattr(spec, part)[index], field))
    if tree is None:
        return
    for change in changes(tree):
        text = unparse(replaced(tree, change.node.id, change.by))
        yield _mutant(spec, part, index, field, steps, text, start(change.node), change.what)


def _parsed(text: str) -> Node | None:
    try:
        return parse(text)
    except Failed:
        return None


def _mutant(spec: PolicySpec, part: str, index: int, field: str, steps: Steps, text: str, at: int, what: str) -> Mutant:
    items = list(getattr(spec, part))
    original = getattr(items[index], field)
    items[index] = msgspec.structs.replace(items[index], **{field: text})
    line, column, source = position(original, at)
    mark = spec.document.inside(steps, line, column)
    shown, caret = window(source, column)
    return Mutant(
        spec=msgspec.structs.replace(spec, **{part: tuple(items)}),
        place=Problem(
            file=spec.document.file,
            line=mark.line,
            column=mark.column,
            path=path_text(steps),
            message=what,
            source=shown,
            caret=caret,
            policy=spec.id,
        ),
        text=text,
    )


def changes(tree: Node) -> Iterator[Change]:
    """The small changes of one expression."""
    yield from _of_node(tree)
    for child in dict.fromkeys(children(tree)):
        yield from changes(child)


def _of_node(node: Node) -> Iterator[Change]:
    match node:
        case Logic():
            word = "&&" if node.is_and else "||"
            for at, term in enumerate(node.terms):
                rest = (*node.terms[:at], *node.terms[at + 1 :])
                by = rest[0] if len(rest) == 1 else msgspec.structs.replace(node, terms=rest)
                yield Change(node, by, f"lost a clause of {word}: {_short(term)}")
                yield from _negation(term)
        case Call(function="!_", arguments=(operand,)):
            yield Change(node, operand, f"not negated: {_short(operand)}")
        case Call(function=function) if function in _FLIPPED:
            yield from _comparison(node)
        case Fold(macro=macro) if macro in _OPPOSITE:
            by = msgspec.structs.replace(node, macro=_OPPOSITE[macro])
            yield Change(node, by, f"{_OPPOSITE[macro]} instead of {macro}")
            yield from _negation(node.predicate)
        case Fold(macro="filter"):
            yield from _negation(node.predicate)
        case Conditional():
            yield Change(node, node.then, f"always as if {_short(node.condition)}")
            yield Change(node, node.otherwise, f"never as if {_short(node.condition)}")


def _comparison(node: Call) -> Iterator[Change]:
    flipped = msgspec.structs.replace(node, function=_FLIPPED[node.function])
    yield Change(node, flipped, f"{_symbol(flipped)} instead of {_symbol(node)}")
    if node.function not in _SHIFTED:
        return
    shifted = msgspec.structs.replace(node, function=_SHIFTED[node.function])
    yield Change(node, shifted, f"off by one: {_symbol(shifted)} instead of {_symbol(node)}")
    one, other = node.arguments
    if isinstance(other, Literal) and other.kind == "int":
        moved = msgspec.structs.replace(other, value=other.value + _NARROWED[node.function])
        by = msgspec.structs.replace(node, arguments=(one, moved))
        yield Change(node, by, f"off by one: {moved.value} instead of {other.value}")


def _negation(term: Node | None) -> Iterator[Change]:
    """Of a condition that is no operator, whose own changes say the same."""
    if isinstance(term, Has) or (isinstance(term, Call) and term.function not in _OPERATORS):
        yield Change(term, _negated(term), f"negated: {_short(term)}")


def _negated(node: Node) -> Node:
    return Call(id=-1, at=node.at, function="!_", target=None, arguments=(node,))


def _symbol(node: Call) -> str:
    return node.function.strip("_")


def _short(node: Node) -> str:
    text = unparse(node)
    return text if len(text) <= 60 else f"{text[:59]}…"


def replaced(node: Any, id: int, by: Node) -> Any:
    """The tree with another node in place of the one with this id."""
    if isinstance(node, tuple):
        return tuple(replaced(each, id, by) for each in node)
    if isinstance(node, Entry):
        return Entry(node.at, replaced(node.key, id, by), replaced(node.value, id, by), node.optional)
    if not isinstance(node, msgspec.Struct):
        return node
    if getattr(node, "id", None) == id:
        return by
    fields = {name: replaced(value, id, by) for name, value in msgspec.structs.asdict(node).items()}
    return node.__class__(**fields)


def window(source: str, column: int, width: int = 100) -> tuple[str, int]:
    """A long line around a column, and the column in it."""
    if len(source) <= width:
        return source, column
    start = max(0, min(column - 1 - width // 3, len(source) - width))
    shown = source[start : start + width]
    head, tail = "…" if start else "", "…" if start + width < len(source) else ""
    return head + shown + tail, column - start + len(head)
