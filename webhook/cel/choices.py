"""What need not evaluate all its parts: `&&`, `||`, `?:`, `or`, `orValue`, `optMap` and `optFlatMap`.

`…_expression` gives one Python expression, in which no error is absorbed; the others write statements and return the
name of the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhook.cel import runtime
from webhook.cel.parser import CHAIN
from webhook.cel.tree import Bind, Call, Conditional, Logic, Node

if TYPE_CHECKING:
    from webhook.cel.codegen import Body


def logic_expression(body: Body, node: Logic, inner: list[str]) -> str:
    terms = [body.as_bool(term, text) for term, text in zip(node.terms, inner, strict=True)]
    return f"({(' and ' if node.is_and else ' or ').join(terms)})"


def conditional_expression(body: Body, node: Conditional, inner: list[str]) -> str:
    return f"({inner[1]} if {body.as_bool(node.condition, inner[0])} else {inner[2]})"


def bind_expression(body: Body, node: Bind) -> str:
    before = dict(body.scope)
    content = _content(body, node, body.pure(node.target))
    python = body.local(node.variable)
    inner = body.pure(node.body)
    body.scope = before
    made = inner if node.flat else f"Optional({inner})"
    return f"({made} if ({python} := {content}) is not ABSENT else NONE)"


def _content(body: Body, node: Bind, target: str) -> str:
    if body.checked.type(node.target).kind == "optional":
        return f"{target}.value"
    return f"{body.module.helper(runtime.content)}({target})"


def logic(body: Body, node: Logic) -> str:
    """`while True` is left by `break` as soon as a term decides; an error waits until none has."""
    result, error = body.out.temporary(), body.out.temporary("f")
    decided = "False" if node.is_and else "True"
    absorbing = body.facts[node.id].fails
    if absorbing:
        body.out.line(f"{error} = None")
    with body.block("while True:"):
        for term in node.terms:
            fails = body.facts[term.id].fails or body.checked.type(term).kind != "bool"
            if fails:
                with body.block("try:"):
                    _decide(body, term, result, decided)
                with body.out.block("except FAULTS as error:"):
                    body.out.line(f"{error} = {error} or fault(error)")
            else:
                _decide(body, term, result, decided)
        if absorbing:
            body.out.line(f"if {error} is not None: raise CelError({error})")
        body.out.line(f"{result} = {'True' if node.is_and else 'False'}")
        body.out.line("break")
    return result


def _decide(body: Body, term: Node, result: str, decided: str) -> None:
    long = isinstance(term, Logic) and len(term.terms) == CHAIN
    condition = body.outlined(term, exact=body.exact) if long else body.condition(term)
    with body.out.block(f"if {'not ' if decided == 'False' else ''}{condition}:"):
        body.out.line(f"{result} = {decided}")
        body.out.line("break")


def conditional(body: Body, node: Conditional) -> str:
    result = body.out.temporary()
    condition = body.condition(node.condition)
    for header, branch in ((f"if {condition}:", node.then), ("else:", node.otherwise)):
        with body.block(header):
            body.out.line(f"{result} = {body.value(branch)}")
    return result


def lazy(body: Body, node: Call) -> str:
    """`x.or(y)` and `x.orValue(y)`: y only if x is none."""
    assert node.target is not None  # noqa: S101 - receiver style only
    result = body.out.temporary()
    body.out.line(f"{result} = {body.value(node.target)}")
    content = body.out.temporary()
    body.out.line(f"{content} = {body.module.helper(runtime.content_of)}({result})")
    with body.block(f"if {content} is ABSENT:"):
        body.out.line(f"{result} = {body.value(node.arguments[0])}")
    if node.function == "orValue":
        with body.out.block("else:"):
            body.out.line(f"{result} = {content}")
    return result


def bind(body: Body, node: Bind) -> str:
    result = body.out.temporary()
    before = dict(body.scope)
    content = _content(body, node, body.value(node.target))
    python = body.local(node.variable)
    body.out.line(f"{python} = {content}")
    with body.out.block(f"if {python} is ABSENT:"):
        body.out.line(f"{result} = NONE")
    with body.block("else:"):
        inner = body.value(node.body)
        body.out.line(f"{result} = {inner if node.flat else f'Optional({inner})'}")
    body.scope = before
    return result
