"""Generated source to functions: the only `compile` of the code base, and what an exception in generated code means.

Running generated code is safe because no text of a policy enters it: names are made from numbers, literals live
in a constant pool (`tests/cel/test_injection.py`).
"""

from __future__ import annotations

import itertools
import linecache
import re
import weakref
from collections.abc import Callable, Mapping
from types import CodeType, FunctionType, TracebackType
from typing import Any, Final
from weakref import WeakValueDictionary

from webhook.cel.emit import COMMON
from webhook.cel.error import CelError
from webhook.cel.printed import printed
from webhook.cel.values import Optional, key_from

FAULTS: Final = (CelError, KeyError, TypeError, IndexError)
"""What a CEL error looks like inside generated code: the subscripts of a selection raise Python's own."""

_PREFIX: Final = "<cel "
_SUBSCRIPT: Final = re.compile(r"\[([a-z]+[0-9]+)\]\Z")

_sources: dict[str, list[str]] = {}
_positions: dict[str, list[tuple[int | None, int | None, int | None, int | None]]] = {}
_codes: WeakValueDictionary[str, CodeType] = WeakValueDictionary()
"""Source of a function → its code: expressions that differ in nothing but constants share it."""


_numbers = itertools.count(1)


def load(functions: Mapping[str, str], namespace: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """The functions with these sources, by name, over what they name of `namespace` and of one another."""
    names = dict(namespace)
    for name, source in functions.items():
        code = _codes.get(source) or _compiled(source)
        arguments = code.co_varnames[: code.co_argcount]
        # Parameters without a default come first; whoever calls gives them.
        defaults = tuple([names[each] for each in arguments if each in names])
        names[name] = FunctionType(code, COMMON, name, defaults)
    return {name: names[name] for name in functions}


def _compiled(source: str) -> CodeType:
    filename = f"{_PREFIX}{next(_numbers)}>"
    lines = _sources[filename] = source.splitlines(keepends=True)
    # linecache.checkcache keeps entries whose second field is None.
    linecache.cache[filename] = (len(source), None, lines, filename)
    module = compile(source, filename, "exec")
    code: CodeType = next(each for each in module.co_consts if isinstance(each, CodeType))
    _codes[source] = code
    weakref.finalize(code, _forget, filename).atexit = False
    return code


def _forget(filename: str) -> None:
    linecache.cache.pop(filename, None)
    _sources.pop(filename, None)
    _positions.pop(filename, None)


def fault(error: BaseException) -> str:
    """The CEL error text of an exception that generated code caught.

    Raises it again when it is none: a `KeyError` or `TypeError` counts only where a generated subscript raised it.
    """
    if isinstance(error, CelError):
        return error.text
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None and trace.tb_frame.f_code is Optional.__getitem__.__code__:
        return "unsupported index type 'string' in list"
    if trace is None or not trace.tb_frame.f_code.co_filename.startswith(_PREFIX):
        raise error
    found = _subscript(trace)
    if found is None:
        raise error
    if isinstance(error, KeyError):
        return f"no such key: {printed(key_from(error.args[0]))}"
    if isinstance(error, IndexError):
        return f"index out of bounds: {found[0]}"
    text = str(error)
    if text.startswith("list indices"):
        return "unsupported index type 'string' in list"
    if "subscriptable" in text or "indices must be" in text:
        return f"no such key: {printed(found[0])}"
    raise error


def _subscript(trace: TracebackType) -> tuple[Any] | None:
    """The key of the subscript that the traceback's frame was at, or `None` if it was at something else."""
    code = trace.tb_frame.f_code
    positions = _positions.get(code.co_filename)
    if positions is None:
        positions = _positions[code.co_filename] = list(code.co_positions())
    line, end_line, start, end = positions[trace.tb_lasti // 2]
    if line is None or line != end_line or end is None or start is None:
        return None
    written = _sources[code.co_filename][line - 1][start:end]
    match = _SUBSCRIPT.search(written)
    if match is None:
        return None
    name = match.group(1)
    frame = trace.tb_frame
    return (frame.f_locals[name] if name in frame.f_locals else frame.f_globals[name],)


def settle(call: Callable[..., Any], *arguments: Any) -> Any:
    """The value, or the error's text: for a condition evaluated again after it failed."""
    try:
        return call(*arguments)
    except FAULTS as error:
        return fault(error)


def force(activation: Any, position: int, call: Callable[[Any], Any], name: str) -> Any:
    """The value of a variable that is not in the memo: computed now, or failed before."""
    failed = activation.failed.get(position)
    if failed is not None:
        raise CelError(failed)
    outer = activation.left, activation.spare
    if activation.grants is not None:
        activation.left, activation.spare = activation.grants[position]
    try:
        value = call(activation)
    except FAULTS as error:
        text = activation.failed[position] = f'composited variable "{name}" fails to evaluate: {fault(error)}'
        raise CelError(text) from None
    finally:
        if activation.grants is not None:
            # Its iterations are its own: whoever asks next does not pay for them.
            activation.left, activation.spare = outer
    activation.memo[position] = value
    return value
