"""A review's request, read without reading through its objects: nine tenths of a body, which whoever decodes them reads
all the same.

The API server writes `object`, `oldObject`, `dryRun` and `options` one after the other, and JSON has no bare quote
inside a string: `,"oldObject":{` is always a field, though maybe another one than the request's. Where such a cut went
wrong, the envelope around it or the object in front of it is no JSON.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw

from webhook import review
from webhook.review import Request

_OBJECT: Final = b',"object":{'
_DELETED: Final = b',"object":null,"oldObject":{'
_OLD: Final = b',"oldObject":{'
_NO_OLD: Final = b',"oldObject":null'
_AFTER: Final = (b',"dryRun":false', b',"dryRun":true')
_OPTIONS: Final = b',"options":{'

_AROUND: Final = 8_192
"""Bytes before and after the objects that are looked through for their ends."""
_APART: Final = 512
"""Bytes that two versions of an object may differ in length, where the end of the first is looked for at once."""


def decode(body: bytes) -> Request:
    """The request in `body`, whose objects may turn out not to be JSON when they are decoded: then only
    `review.decode` can tell what the body holds. Raises as that does."""
    return _cut(body) or review.decode(body).request


def _cut(body: bytes) -> Request | None:
    """None: not written as the API server writes it, or no object to be spared."""
    found = _objects(body, _end(body))
    if found is None:
        return None
    start, border, old, end = found
    try:
        request = review.decode(b"%bnull%b" % (body[:start], body[end:])).request
    except (msgspec.DecodeError, RecursionError):
        return None
    view = memoryview(body)
    msgspec.structs.force_setattr(request, "object", Raw(view[start:border]))
    if old < end:
        msgspec.structs.force_setattr(request, "old_object", Raw(view[old:end]))
    return request


def _objects(body: bytes, end: int) -> tuple[int, int, int, int] | None:
    """Where the object begins and ends, where the old one begins, if there is one, and ends."""
    if end < 0:
        return None
    at = body.find(_OBJECT, 0, _AROUND)
    if at < 0:
        at = body.find(_DELETED, 0, _AROUND)
        null, old = at + len(b',"object":'), at + len(_DELETED) - 1
        return (null, null + len(b"null"), old, end) if at >= 0 else None
    start = at + len(_OBJECT) - 1
    if body.endswith(_NO_OLD, start, end):
        return start, end - len(_NO_OLD), end, end
    border = _border(body, start, end)
    return (start, border, border + len(_OLD) - 1, end) if border >= 0 else None


def _end(body: bytes) -> int:
    """Where the objects end. -1: somewhere else."""
    options = body.rfind(_OPTIONS, max(0, len(body) - _AROUND))
    for after in _AFTER:
        if options > 0 and body.endswith(after, 0, options):
            return options - len(after)
    return -1


def _border(body: bytes, start: int, end: int) -> int:
    """Where the field of the old object begins: mostly in the middle. -1: nowhere."""
    middle = (start + end) // 2
    near = body.find(_OLD, max(start, middle - _APART), min(end, middle + _APART))
    return near if near >= 0 else body.find(_OLD, start, end)
