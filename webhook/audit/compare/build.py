"""The facts table → the comparison: which predictions came true, which did not, summed by policy and namespace."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from webhook.audit.compare.causes import Causes
from webhook.audit.compare.figures import Comparison, Difference, Row
from webhook.audit.compare.history import History, Key, in_force, window
from webhook.audit.report.figures import Time
from webhook.audit.report.standing import Catalogue, standings
from webhook.policy import SetRecord

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MAX_AGE = datetime.timedelta(days=30)
"""How old the last review of a workload may be to say anything of it."""


def compare(
    facts: DuckDBPyConnection,
    sets: Sequence[SetRecord],
    *,
    since: Time,
    policies: Iterable[str] = (),
    max_age: datetime.timedelta = MAX_AGE,
) -> Comparison:
    """Of these policies; when none are named, of those that the log shows to be in force since."""
    catalogue = Catalogue(sets)
    with window(facts, before=since):
        predicted = {(each.root, each.policy): each for each in standings(facts, catalogue)}
    known = {*catalogue.policies, *(policy for _, policy in predicted)}
    wanted = set(policies) or in_force(facts, since, known)
    predicted = {key: each for key, each in predicted.items() if key[1] in wanted}
    opened = [key for key, each in predicted.items() if each.found is not None and each.found.blocked]
    history = History(facts, since, wanted, {root for root, _ in opened})
    causes = Causes(sets, catalogue, predicted, history, max_age)

    differences = [each for key in history.refusals if (each := causes.unpredicted(key)) is not None]
    untested: set[Key] = set()
    for key in opened:
        if key in history.refusals:
            continue
        difference = causes.missing(key)
        if difference is None:
            untested.add(key)
        else:
            differences.append(difference)
    differences.sort(
        key=lambda each: (not each.wrong, each.policy, each.cluster, each.namespace, each.workload, each.kind)
    )
    return Comparison(
        since=since,
        end=history.end,
        policies=tuple(sorted(wanted)),
        rows=tuple(_rows(set(opened), set(history.refusals), untested, differences)),
        differences=tuple(differences),
    )


def _rows(opened: set[Key], refused: set[Key], untested: set[Key], differences: Sequence[Difference]) -> Iterator[Row]:
    places: dict[tuple[str, str, str], list[Key]] = {}
    for key in refused | opened:
        places.setdefault((key[1], key[0][0], key[0][1]), []).append(key)
    for (policy, cluster, namespace), keys in sorted(places.items()):
        here = [
            each for each in differences if (each.policy, each.cluster, each.namespace) == (policy, cluster, namespace)
        ]
        yield Row(
            policy=policy,
            cluster=cluster,
            namespace=namespace,
            predicted=sum(key in opened for key in keys),
            refused=sum(key in refused for key in keys),
            as_predicted=sum(key in opened and key in refused for key in keys),
            untested=sum(key in untested for key in keys),
            differences=len(here),
            wrong=sum(each.wrong for each in here),
        )
