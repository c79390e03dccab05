"""Where the server's own code panics: over which operand, in which order, and how that ends an expression (`Crash`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from webhook.cel.emit import Module
from webhook.cel.facts import operands
from webhook.cel.metering import FAILED
from webhook.cel.tree import Call, Node

if TYPE_CHECKING:
    from webhook.cel.codegen import Body


def caught(module: Module, inner: str, prefix: str) -> str:
    """A function that ends the server's panics, which pass through the absorbing operators of `inner`."""
    name = module.name(prefix)
    lines = [f"def {name}(S):", "    try:", f"        return {inner}(S)"]
    module.function([*lines, "    except Crash as crash:", "        raise CelError(crash.text) from None"])
    return name


def both(body: Body, arguments: tuple[Node, ...]) -> list[str]:
    """Two operands, the second evaluated first: its crash comes before an error of the first, its error after."""
    second, error = body.out.temporary(), body.out.temporary("f")
    body.out.line(f"{error} = None")
    with body.block("try:"):
        body.out.line(f"{second} = {body.value(arguments[1])}")
    with body.out.block("except FAULTS as error:"):
        body.out.line(f"{error} = fault(error)")
    first = body.out.temporary()
    body.out.line(f"{first} = {body.value(arguments[0])}")
    body.out.line(f"if {error} is not None: raise CelError({error})")
    return [first, second]


def exposed(body: Body, node: Call) -> str:
    """A call over whose operand the server panics if that has failed or is of another type. The server evaluates
    all operands first, so that one comes first here."""
    unguarded = body.checked.overloads[node.id][0].unguarded
    assert unguarded is not None  # noqa: S101 - exposed by it
    at, test = unguarded[0], body.module.helper(unguarded[1])
    arguments = operands(node, body.checked)
    held = body.out.temporary()
    with guarding(body, test):
        body.out.line(f"{held} = {body.value(arguments[at])}")
    body.out.line(f"{test}({held})")
    inner = body.spilled(tuple(each for position, each in enumerate(arguments) if position != at))
    result = body.out.temporary()
    body.out.line(f"{result} = {body.combine(node, [*inner[:at], held, *inner[at:]])}")
    return result


@contextmanager
def guarding(body: Body, test: str) -> Iterator[None]:
    """Statements of which a failure is for `test` to tell."""
    with body.block("try:"):
        yield
    with body.out.block("except FAULTS:"):
        body.out.line(f"{test}({body.constant(FAILED)})")
