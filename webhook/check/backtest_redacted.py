"""Whether a policy reads what was redacted: values that cannot be touched without being noticed.

A `Redacted` stands where a secret was. It may be carried about, and its key may be asked for; any look at the value
itself raises `Touched`: comparing, measuring, converting, even asking for its class, which is the first thing that
compiled CEL does with any value. A verdict that came about without a touch is the verdict on the original, whatever was
there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import msgspec

from webhook.policy import Context
from webhook.review import Request, decode_object
from webhook.state import State


class Touched(Exception):
    """A policy looked at a redacted value. No error of CEL, so no policy absorbs it."""


class Redacted:
    """A value that is not known."""

    __slots__ = ()

    def _touch(self, *_: object) -> NoReturn:
        raise Touched

    __class__ = property(_touch)
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _touch
    __hash__ = __bool__ = __contains__ = __iter__ = __getitem__ = __str__ = __repr__ = __format__ = _touch
    __add__ = __radd__ = __int__ = __float__ = __index__ = __call__ = _touch

    def __len__(self) -> int:
        """Sizes are weighed before any policy runs; a policy asks for the class first."""
        return 0

    def __getattr__(self, name: str) -> NoReturn:
        raise Touched


def context_of(
    request: Request, pointers: Iterable[str], *, state: State, clock: Callable[[], float], deadline: float
) -> Context:
    """The context of a recorded request, with a `Redacted` at each of the JSON Pointers. Raises `msgspec.DecodeError`,
    `RecursionError`."""
    values = {"object": decode_object(request.object), "oldObject": decode_object(request.old_object)}
    extra: dict[str, Any] = dict(request.user_info.extra or {})
    for pointer in pointers:
        part, *steps = [each.replace("~1", "/").replace("~0", "~") for each in pointer.split("/")[1:]] or [""]
        if part in values:
            _put(values[part], steps)
        elif part == "userInfo" and len(steps) == 2:
            extra[steps[1]] = (Redacted(),)
    if extra:
        user = msgspec.structs.replace(request.user_info, extra=extra)
        request = msgspec.structs.replace(request, user_info=user)
    context = Context(request, state=state, clock=clock, deadline=deadline)
    return context.of_values(values["object"], values["oldObject"])


def _put(node: Any, steps: list[str]) -> None:
    """Puts a `Redacted` at the end of a path; a path that leads nowhere (an edited record) is passed over."""
    for step in steps[:-1]:
        if type(node) is dict and step in node:
            node = node[step]
        elif type(node) is list and step.isdecimal() and int(step) < len(node):
            node = node[int(step)]
        else:
            return
    if not steps:
        return
    last = steps[-1]
    if type(node) is dict:
        node[last] = Redacted()
    elif type(node) is list and last.isdecimal() and int(last) < len(node):
        node[int(last)] = Redacted()
