"""Lines with something before the event: CRI, `kubectl logs`, syslog, `oc adm node-logs`, `logcli`, CloudWatch's tail.

Container runtimes cut lines at 16 KiB and mark the parts: CRI with `P` and `F`, Docker by the newline that is missing.
"""

from __future__ import annotations

import re

import msgspec

from webhook.audit.source.envelope import Format, Keys, Opener, Origin, string

_MARKS = (b'{"kind":"Event"', b'{"auditID":')
_TRIES = 8
_TIME = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?")
_CRI = re.compile(rb"(\d{4}-\d\d-\d\dT\S+) (stdout|stderr) ([PF]) ")
LEGACY = b'AUDIT: id="'
"""`--audit-log-format=legacy`."""


def event_in(line: bytes) -> int:
    """Where an event begins in the line; -1: nowhere."""
    for mark in _MARKS:
        at = line.find(mark)
        if at >= 0:
            return at
    at = -1
    for _ in range(_TRIES):
        at = line.find(b'{"', at + 1)
        if at < 0:
            return -1
        try:
            msgspec.json.decode(memoryview(line)[at:], type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        return at
    return -1


def time_in(prefix: bytes) -> str:
    """The first time in a prefix, RFC 3339; empty for none."""
    found = _TIME.search(prefix)
    return found[0].decode("ascii") if found is not None else ""


def cri(line: bytes) -> tuple[str, str, bool, bytes] | None:
    """(time, stream, whether it is the last part, text) of a container runtime's line."""
    found = _CRI.match(line)
    if found is None:
        return None
    return found[1].decode("ascii", "replace"), found[2].decode("ascii"), found[3] == b"F", line[found.end() :]


def _open_docker(keys: Keys, opener: Opener, origin: Origin) -> None:
    text = string(keys["log"])
    inside = Origin("container-log", origin.cluster, string(keys["time"]))
    opener.part(string(keys["stream"]), text.encode(), final=text.endswith("\n"), origin=inside)


FORMATS = (
    Format(
        "container-log",
        lambda keys: "log" in keys and "stream" in keys and "time" in keys and bytes(keys["log"])[:1] == b'"',
        _open_docker,
    ),
)
