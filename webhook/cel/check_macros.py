"""The checker on macros: the types of what the server expands them to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from webhook.cel.diagnostics import Diagnostic
from webhook.cel.tree import Bind, Fold, SortBy
from webhook.cel.types import BOOL, DYN, ERROR, INT, Type, list_of, map_of

if TYPE_CHECKING:
    from webhook.cel.check import Checker

TWICE: Final = 100
"""Problems that are told a second time, at most: each of nested macros doubles them."""


def fold(checker: Checker, node: Fold) -> Type:
    range_type = checker.check(node.range)
    accumulator = _start(checker, node)
    first, second = _variables(checker, node, checker.bindings.substitute(range_type))
    checker.scopes.append({node.variable: first} | ({node.second: second} if node.second else {}))
    predicate = checker.check(node.predicate) if node.predicate is not None else None
    body = checker.check(node.body) if node.body is not None else None
    match node.macro:
        case "all" | "exists":
            if node.predicate is not None and predicate is not None:
                checker.boolean(node.predicate, predicate)
            step = BOOL
        case "existsOne":
            step = checker.resolve(node, "_+_", (INT, INT), record=False)
        case "map" | "transformList":
            step = checker.resolve(node, "_+_", (accumulator, list_of(body or first)), record=False)
        case "filter":
            step = checker.resolve(node, "_+_", (accumulator, list_of(first)), record=False)
        case "transformMap":
            step = checker.resolve(node, "cel.@mapInsert", (accumulator, first, body or second), record=False)
        case _:
            step = checker.resolve(node, "cel.@mapInsert", (accumulator, body or DYN), record=False)
    if predicate is not None and node.macro not in ("all", "exists"):
        step = checker.resolve(node, "_?_:_", (predicate, step, accumulator), record=False)
    if not checker.bindings.assignable(step, accumulator):
        checker.mismatch(node, accumulator, step)
    checker.scopes.pop()
    result = checker.resolve(node, "_==_", (INT, INT), record=False) if node.macro == "existsOne" else accumulator
    return checker.bindings.substitute(result)


def _start(checker: Checker, node: Fold) -> Type:
    match node.macro:
        case "all" | "exists":
            return BOOL
        case "existsOne":
            return INT
        case "transformMap" | "transformMapEntry":
            return map_of(checker.bindings.fresh(), checker.bindings.fresh())
    return list_of(checker.bindings.fresh())


def _variables(checker: Checker, node: Fold, type: Type) -> tuple[Type, Type]:
    """The types of the iteration variables."""
    match type.kind:
        case "list":
            return (INT, type.arguments[0]) if node.second else (type.arguments[0], DYN)
        case "map":
            return type.arguments[0], type.arguments[1]
        case "dyn" | "error" | "parameter":
            checker.bindings.assignable(DYN, type)
            return DYN, DYN
    checker.problem(
        checker.range_at.get(node.id, node.range.at),
        f"expression of type '{type}' cannot be range of a comprehension (must be list, map, or dynamic)",
    )
    return ERROR, ERROR


def bind(checker: Checker, node: Bind) -> Type:
    before, made = len(checker.problems), checker.bindings.made
    target = checker.check(node.target)
    again, fresh = checker.problems[before:][:TWICE], checker.bindings.made - made
    has = checker.resolve(node, "hasValue", (target,), member=True, record=False)
    checker.bindings.fresh()  # the empty range of the server's expansion
    # The server's expansion has the target twice, and says twice what is wrong with it.
    shift = checker.bindings.made - made
    checker.problems += [Diagnostic(each.at, _renumbered(each.message, made, shift)) for each in again]
    checker.bindings.made += fresh
    second = _shifted(checker.bindings.substitute(target), made, shift)
    inner = checker.resolve(node, "value", (second,), member=True, record=False)
    checker.scopes.append({node.variable: inner})
    body = checker.check(node.body)
    checker.scopes.pop()
    then = body if node.flat else checker.resolve(node, "optional.of", (body,), record=False)
    none = checker.resolve(node, "optional.none", (), record=False)
    return checker.resolve(node, "_?_:_", (has, then, none), record=False)


def _shifted(type: Type, first: int, shift: int) -> Type:
    """The type with other numbers for the type parameters from `first` on."""
    if type.kind == "parameter":
        return Type("parameter", _renumbered(type.name, first, shift))
    return Type(type.kind, type.name, tuple(_shifted(each, first, shift) for each in type.arguments))


def _renumbered(message: str, first: int, shift: int) -> str:
    """The message about the type parameters from `first` on, which have other numbers the second time."""

    def other(match: re.Match[str]) -> str:
        number = int(match[1])
        return f"_var{number + shift if number >= first else number}"

    return re.sub(r"\b_var([0-9]+)\b", other, message)


def sort_by(checker: Checker, node: SortBy) -> Type:
    if "@sortByAssociatedKeys" not in checker.env.functions:
        checker.check(node.target)
        return checker.undeclared(node.at, "sortBy")
    checker.range_at[node.keys.id] = node.at
    checker.bindings.fresh()  # the empty range of the server's expansion
    checker.check(node.keys)
    target, keys = checker.types[node.target.id], checker.types[node.keys.id]
    return checker.resolve(node, "@sortByAssociatedKeys", (target, keys), member=True)
