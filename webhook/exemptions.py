"""Exemptions: which findings are accepted for a while, by whom, and why.

One YAML file, reviewed in Git, honoured the same way everywhere. An exempted finding is still computed and
recorded; only its warning goes away, and readiness does not count it as blocked. An exemption has an owner, a
reason and an end: one that nobody owns cannot be loaded, and one that has expired does nothing.
"""

from __future__ import annotations

import datetime
import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from webhook.errors import InvalidInput, Problem
from webhook.policy import Exempted, Finding
from webhook.review import Request

MAX_DAYS = 180
"""How far ahead `expires` may lie of `created`."""


class Exemption(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One entry of the file. Absent lists match anything; patterns may hold `*`."""

    id: str
    policies: tuple[str, ...]
    reason: str
    owner: str
    created: datetime.date
    expires: datetime.date
    namespaces: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Names of the object or of its controller."""
    users: tuple[str, ...] = ()
    ticket: str = ""
    approved_by: str = ""

    def expired(self, now: float) -> bool:
        """Whether the last day, in UTC, is over at `now` (seconds since the epoch)."""
        return datetime.datetime.fromtimestamp(now, datetime.UTC).date() > self.expires


class Exemptions:
    """The entries in file order; false when there are none."""

    __slots__ = ("entries",)

    def __init__(self, entries: Sequence[Exemption] = ()) -> None:
        self.entries = tuple(entries)

    def __bool__(self) -> bool:
        return bool(self.entries)

    def split(
        self, findings: Iterable[Finding], *, request: Request, object: Any, controller: str, now: float
    ) -> tuple[list[Finding], list[Exempted]]:
        """(findings that stand, those that an entry covers). The first entry that covers one is named."""
        about = _about(request, object, controller)
        entries = [each for each in self.entries if not each.expired(now) and _covers(each, request, about)]
        standing: list[Finding] = []
        exempted: list[Exempted] = []
        for finding in findings:
            entry = next((each for each in entries if _any(each.policies, (finding.policy,))), None)
            if entry is None:
                standing.append(finding)
            else:
                exempted.append(
                    Exempted(policy=finding.policy, exemption=entry.id, binding=finding.binding, index=finding.index)
                )
        return standing, exempted


NO_EXEMPTIONS = Exemptions()


def read_exemptions(path: Path) -> Exemptions:
    """The file's entries: a YAML document `{exemptions: [...]}`. Raises `InvalidInput` with all that is wrong."""
    file = str(path)
    try:
        document = yaml.load(path.read_bytes(), yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = {"line": mark.line + 1, "column": mark.column + 1} if mark else {}
        text = getattr(error, "problem", None) or str(error)
        raise InvalidInput([Problem(file=file, message=f"not YAML: {text}", **where)]) from None
    if not isinstance(document, dict) or not isinstance(document.get("exemptions"), list):
        raise InvalidInput([Problem(file=file, message="expected a mapping with a list `exemptions`")])
    problems: list[Problem] = []
    entries: list[Exemption] = []
    for index, each in enumerate(document["exemptions"]):
        where_in = f"exemptions[{index}]"
        try:
            entry = msgspec.convert(each, Exemption)
        except msgspec.ValidationError as error:
            problems.append(Problem(file=file, path=where_in, message=str(error)))
            continue
        problems.extend(Problem(file=file, path=where_in, message=text) for text in _mistakes(entry, entries))
        entries.append(entry)
    if problems:
        raise InvalidInput(problems)
    return Exemptions(entries)


def _mistakes(entry: Exemption, before: Iterable[Exemption]) -> Iterable[str]:
    if any(entry.id == each.id for each in before):
        yield f"id {entry.id!r} is used twice"
    if not entry.policies:
        yield "policies is empty: name the policies that are exempted"
    if "*" in entry.policies and not entry.namespaces:
        yield "policies `*` needs `namespaces`: an exemption from everything everywhere is none"
    for field in ("reason", "owner"):
        text = getattr(entry, field).strip()
        if len(text) < (10 if field == "reason" else 1):
            yield f"{field} is too short: say {'why, in 10 characters or more' if field == 'reason' else 'who'}"
    if entry.expires > entry.created + datetime.timedelta(days=MAX_DAYS):
        yield f"expires is more than {MAX_DAYS} days after created: shorten it, and renew it when it is still needed"
    if entry.expires < entry.created:
        yield "expires is before created"


def _about(request: Request, object: Any, controller: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(kinds, names) that stand for the object: its own and its controller's."""
    kind, _, name = controller.partition("/")
    own = request.name
    if not own and isinstance(object, dict) and isinstance(object.get("metadata"), dict):
        own = str(object["metadata"].get("name") or "")
    return tuple(filter(None, (request.kind.kind, kind))), tuple(filter(None, (own, name)))


def _covers(entry: Exemption, request: Request, about: tuple[tuple[str, ...], tuple[str, ...]]) -> bool:
    kinds, names = about
    return (
        (not entry.namespaces or _any(entry.namespaces, (request.namespace,)))
        and (not entry.kinds or _any(entry.kinds, kinds))
        and (not entry.names or _any(entry.names, names))
        and (not entry.users or _any(entry.users, (request.user_info.username,)))
    )


def _any(patterns: Iterable[str], values: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(value, pattern) for pattern in patterns for value in values)
