"""The facts table and the owners → the figures of a report.

Every figure is a sum over the same standings, so that tables agree with each other and with the headline. Knows no
files, no command line, and nothing of how it is shown.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from webhook.audit.owners import Owners
from webhook.audit.report import covering, trend
from webhook.audit.report.covering import Covered
from webhook.audit.report.figures import Day, Denial, Report, Time, Totals, Window
from webhook.audit.report.standing import Catalogue, moment, standings
from webhook.audit.report.tables import Tables
from webhook.audit.report.workloads import ALL, Gathered, Hit, Selection, gather
from webhook.audit.tickets.settle import DEFAULTS, Proof

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DAY = datetime.timedelta(days=1)
NEW = 7 * DAY
"""New is what was first seen this short before the end of the log, and not on its first day, unless it is said since
when."""


def build(
    facts: DuckDBPyConnection,
    *,
    owners: Owners,
    catalogue: Catalogue,
    new_since: Time | None = None,
    proof: Proof = DEFAULTS,
    selection: Selection = ALL,
) -> Report:
    """The report on all of the facts behind this connection (views `facts`, `writes`, `findings`, `blind`)."""
    row = facts.execute("SELECT epoch_us(min(first)), epoch_us(max(last)) FROM spans").fetchone()
    start, end = (moment(each) for each in row or (None, None))
    if start is None or end is None:
        return Report(window=None, new_since=new_since)
    window = Window(start=start, end=end)
    # What the log begins with may be older than the log.
    since = new_since or max(end - NEW, start + DAY)
    known = standings(facts, catalogue, proof=proof)
    gathered = gather(known, owners=owners, catalogue=catalogue, since=since, selection=selection)

    def covers(cluster: str, namespace: str) -> bool:
        """Whether a place is asked for; a team's are those that it owns."""
        return (not selection.namespaces or namespace in selection.namespaces) and (
            not selection.teams or owners.of(namespace, cluster=cluster).name in selection.teams
        )

    covered = Covered(facts, catalogue, covers if selection != ALL else None)
    denials = covering.denials(facts, covers)
    days = trend.days_of(window)
    tables = Tables(gathered, owners=owners, catalogue=catalogue, covered=covered, days=days, since=since)
    trend_ = _trend(days, tables.hits, covered)
    return Report(
        window=window,
        new_since=since if since <= end else None,
        clusters=covered.clusters,
        totals=_totals(gathered, denials),
        coverage=covered.total,
        direction=trend.direction(trend_),
        days=trend_,
        policies=tables.policies(),
        teams=tables.teams(),
        namespaces=tables.namespaces(),
        clients=tables.clients(),
        workloads=gathered.workloads,
        denials=denials,
        blind=covering.blind(facts, covers),
    )


def _totals(gathered: Gathered, denials: Sequence[Denial]) -> Totals:
    blocked = [each for each in gathered.workloads if each.policies]
    return Totals(
        workloads=len(blocked),
        unproven=sum(each.status == "unproven" for each in blocked),
        new=sum(each.new for each in blocked),
        settled=len(gathered.workloads) - len(blocked),
        exempted=gathered.exempted,
        policies=len({policy for each in blocked for policy in each.policies}),
        namespaces=len({(each.cluster, each.namespace) for each in blocked if each.namespace}),
        owners=len({each.owner for each in blocked if each.owner}),
        unowned=sum(not each.owner for each in blocked),
        writes=sum(each.writes for each in blocked),
        denied=sum(each.writes for each in denials),
    )


def _trend(days: Sequence[datetime.date], hits: Sequence[Hit], covered: Covered) -> tuple[Day, ...]:
    opened, closed = trend.spans(hits)
    new, settled = Counter(opened), Counter(closed)
    return tuple(
        Day(
            day=day,
            open=count,
            new=new[day],
            settled=settled[day],
            reviewed=covered.days.get(day, (0, 0))[0],
            writes=covered.days.get(day, (0, 0))[1],
        )
        for day, count in zip(days, trend.open_on(days, hits), strict=True)
    )
