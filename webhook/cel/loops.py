"""Comprehensions, and `sortBy`, as Python loops. The error rules are those of cel-go's accumulator loops:

`all` and `exists` go on after an error and forget it if a later element decides; the others keep one error to the end,
the last of a predicate and the first of a result. CEL is pure, so that leaving early shows nowhere but in the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from webhook.cel import runtime
from webhook.cel.calls import spent
from webhook.cel.crashes import guarding
from webhook.cel.tariff import cost_of
from webhook.cel.tree import Fold, Node, SortBy
from webhook.cel.values import Map

if TYPE_CHECKING:
    from webhook.cel.codegen import Body


def fold(body: Body, node: Fold) -> str:
    """Writes the loop; returns the expression of its result."""
    return fold_over(body, node, body.value(node.range))


def fold_over(body: Body, node: Fold, values: str) -> str:
    out = body.out
    over = out.temporary()
    out.line(f"{over} = {values}")
    if node.second:
        out.line(f"{over} = {body.module.helper(runtime.pairs)}({over})")
    elif body.checked.type(node.range).kind != "list":
        out.line(f"if {over}.__class__ is not list: {over} = {body.module.helper(runtime.elements)}({over})")
    out.line(f"S.left -= len({over})")
    out.line(f"if S.left < 0: {over} = S.pause({over})")
    before = dict(body.scope)
    names = body.local(node.variable) + (f", {body.local(node.second)}" if node.second else "")
    header = f"for {names} in {over}:"
    result = _LOOPS[node.macro](body, node, header)
    body.scope = before
    return result


def _quantifier(body: Body, node: Fold, header: str) -> str:
    """`all` and `exists`."""
    is_all = node.macro == "all"
    out, predicate = body.out, _predicate(node)
    result, error = out.temporary(), out.temporary("f")
    out.line(f"{result} = {is_all}")
    out.line(f"{error} = None")

    def decide(condition: str) -> None:
        with out.block(f"if {'not ' if is_all else ''}{condition}:"):
            out.line(f"{result} = {not is_all}")
            out.line("break")

    with body.block(header):
        _tested(body, predicate, error, decide, first=True)
    with out.block("else:"):
        out.line(f"if {error} is not None: raise CelError({error})")
    return result


def _tested(body: Body, predicate: Node, error: str, decide: Callable[[str], None], *, first: bool) -> None:
    """The predicate in the loop's body: `decide` writes what depends on it; its error goes into `error`, the
    first one if `first`, else the last."""
    out = body.out
    facts = body.facts[predicate.id]
    keep = f"{error} or " if first else ""
    if not facts.fails and body.checked.type(predicate).kind == "bool":
        decide(body.condition(predicate))
        return
    if facts.pure and facts.absorbs and not body.exact:
        exact = body.outlined(predicate, exact=True)
        with body.block("try:"):
            decide(body.as_bool(predicate, body.pure(predicate)))
        with out.block("except FAULTS:"):
            settled = out.temporary()
            name, _, arguments = exact.partition("(")
            out.line(f"{settled} = settle({name}, {arguments}")
            with out.block(f"if {settled}.__class__ is str:"):
                out.line(f"{error} = {keep}{settled}")
            with out.block("else:"):
                decide(body.as_bool(predicate, settled))
        return
    with body.block("try:"):
        decide(body.condition(predicate))
    with out.block("except FAULTS as error:"):
        out.line(f"{error} = {keep}fault(error)")


def _exists_one(body: Body, node: Fold, header: str) -> str:
    out = body.out
    count, error = out.temporary(), out.temporary("f")
    out.line(f"{count} = 0")
    out.line(f"{error} = None")

    def decide(condition: str) -> None:
        out.line(f"if {condition}: {count} += 1")

    with body.block(header):
        _tested(body, _predicate(node), error, decide, first=False)
    out.line(f"if {error} is not None: raise CelError({error})")
    return f"({count} == 1)"


def _collect(body: Body, node: Fold, header: str) -> str:
    """`map`, `filter` and the transforming macros."""
    out = body.out
    result, error = out.temporary(), out.temporary("f")
    makes_list = node.macro in ("map", "filter", "transformList")
    out.line(f"{result} = {'[]' if makes_list else body.module.helper(Map) + '()'}")

    def add() -> None:
        value = body.value(node.body) if node.body is not None else body.scope[node.variable]
        if makes_list:
            out.line(f"{result}.append({value})")
        elif node.macro == "transformMap":
            out.line(f"{body.module.helper(runtime.insert)}({result}, {body.scope[node.variable]}, {value})")
        else:
            out.line(f"{body.module.helper(runtime.insert_all)}({result}, {value})")

    if node.predicate is None:
        with body.block(header):
            add()
    else:
        out.line(f"{error} = None")

        def decide(condition: str) -> None:
            out.line(f"{chosen} = {condition}")

        chosen = out.temporary()
        with body.block(header):
            out.line(f"{chosen} = False")
            _tested(body, node.predicate, error, decide, first=False)
            with body.block(f"if {chosen} and {error} is None:"):
                if not makes_list or (node.body is not None and body.facts[node.body.id].fails):
                    with body.block("try:"):
                        add()
                    with out.block("except FAULTS as error:"):
                        out.line(f"{error} = fault(error)")
                else:
                    add()
        out.line(f"if {error} is not None: raise CelError({error})")
    return result if makes_list else f"{body.module.helper(runtime.finish_map)}({result})"


def _predicate(node: Fold) -> Node:
    assert node.predicate is not None  # noqa: S101 - these macros always have one
    return node.predicate


def sort_by(body: Body, node: SortBy) -> str:
    rows = body.checked.overloads[node.id]
    if body.facts[node.id].exposed:
        assert rows[0].unguarded is not None  # noqa: S101 - exposed by it
        values, keys = body.out.temporary(), body.out.temporary()
        with guarding(body, body.module.helper(rows[0].unguarded[1])):
            body.out.line(f"{values} = {body.value(node.target)}")
            body.out.line(f"{keys} = {fold_over(body, node.keys, values)}")
    else:
        values = body.out.temporary()
        body.out.line(f"{values} = {body.value(node.target)}")
        keys = fold_over(body, node.keys, values)
    if cost_of("@sortByAssociatedKeys", rows) is not None:
        return spent(body, rows, [values, keys])
    return f"{body.module.helper(body.context.dispatcher(rows))}({values}, {keys})"


_LOOPS = {
    "all": _quantifier,
    "exists": _quantifier,
    "existsOne": _exists_one,
    **dict.fromkeys(("map", "filter", "transformList", "transformMap", "transformMapEntry"), _collect),
}
