"""When something is due: wall hours, or business days of a calendar with a time zone, weekends and holidays.

Knows no tickets and reads no clock.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from webhook.audit.render import safe
from webhook.errors import InvalidInput, Problem, UserError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = datetime.timedelta(days=1)
_SEARCH_DAYS = 3_660
"""How far ahead business days are looked for: a holidays file that leaves none in ten years is a mistake."""


class Calendar(Struct, frozen=True, kw_only=True):
    """On which days people work."""

    zone: ZoneInfo = ZoneInfo("UTC")
    weekend: frozenset[int] = frozenset((5, 6))
    """Days of the week, Monday is 0."""
    holidays: frozenset[datetime.date] = frozenset()

    def works(self, day: datetime.date) -> bool:
        return day.weekday() not in self.weekend and day not in self.holidays

    def after(self, start: datetime.datetime, *, hours: int = 0, business_days: int = 0) -> datetime.datetime:
        """`hours` of the clock later; or the same time of day `business_days` later, in the calendar's zone.

        What begins on a day off begins at midnight before the next business day. Raises `UserError` when there is
        no business day in ten years.
        """
        if hours:
            # In UTC: an hour is an hour, whatever the zone does meanwhile.
            return (start.astimezone(datetime.UTC) + datetime.timedelta(hours=hours)).astimezone(self.zone)
        local = start.astimezone(self.zone)
        day, time = local.date(), local.time().replace(microsecond=0)
        if not self.works(day):
            day, time = self._next(day), datetime.time()
        for _ in range(business_days):
            day = self._next(day)
        return datetime.datetime.combine(day, time, tzinfo=self.zone)

    def _next(self, day: datetime.date) -> datetime.date:
        for _ in range(_SEARCH_DAYS):
            day += _DAY
            if self.works(day):
                return day
        raise UserError(f"no business day in the ten years before {day}: check weekend and holidays file")


def zone(name: str) -> ZoneInfo:
    """Raises `UserError` for a name that is no time zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UserError(f"{safe(name)!r} is no time zone: write one such as Europe/Berlin, or UTC") from None


def weekend(text: str) -> frozenset[int]:
    """`sat,sun` → days; `none` for no weekend. Raises `UserError`."""
    if text == "none":
        return frozenset()
    days = [each.strip().lower()[:3] for each in text.split(",")]
    if unknown := [each for each in days if each not in DAYS]:
        raise UserError(f"{safe(unknown[0])!r} is no day of the week: write days such as fri,sat, or none")
    if len(set(days)) == len(DAYS):
        raise UserError("a weekend of seven days leaves no business day")
    return frozenset(map(DAYS.index, days))


def read_holidays(path: Path) -> frozenset[datetime.date]:
    """A file of dates, one a line with a remark behind it, or an iCalendar file. Raises `InvalidInput`."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput([Problem(file=str(path), message="is not UTF-8 text; expected dates, one a line")]) from None
    lines = list(enumerate(text.splitlines(), 1))
    return _icalendar(path, lines) if text.startswith("BEGIN:VCALENDAR") else _dates(path, lines)


def _dates(path: Path, lines: list[tuple[int, str]]) -> frozenset[datetime.date]:
    days: set[datetime.date] = set()
    problems: list[Problem] = []
    for number, line in lines:
        words = line.partition("#")[0].split(maxsplit=1)
        if not words:
            continue
        try:
            days.add(datetime.date.fromisoformat(words[0]))
        except ValueError:
            problems.append(
                Problem(
                    file=str(path),
                    line=number,
                    message=f"{safe(words[0])!r} is no date; expected lines such as `2026-12-25  Christmas Day`",
                )
            )
    if problems:
        raise InvalidInput(problems)
    return frozenset(days)


def _icalendar(path: Path, lines: list[tuple[int, str]]) -> frozenset[datetime.date]:
    """All-day events. Those that recur are refused: a holiday that moves is not in the rule anyway."""
    days: set[datetime.date] = set()
    problems: list[Problem] = []
    start: datetime.date | None = None
    for number, line in lines:
        name, _, value = line.partition(":")
        name = name.partition(";")[0].upper()
        try:
            if name == "DTSTART":
                start = datetime.datetime.strptime(value.strip()[:8], "%Y%m%d").date()
                days.add(start)
            elif name == "DTEND" and start is not None:
                end = datetime.datetime.strptime(value.strip()[:8], "%Y%m%d").date()
                days.update(start + _DAY * ahead for ahead in range(1, min((end - start).days, 366)))
            elif name == "RRULE":
                problems.append(
                    Problem(file=str(path), line=number, message="recurring events are not read: list each year's date")
                )
        except ValueError:
            problems.append(Problem(file=str(path), line=number, message=f"{safe(value)!r} does not begin with a date"))
    if problems:
        raise InvalidInput(problems)
    return frozenset(days)
