"""What reports ask of all facts, answered for each day when it is written: some thousand rows instead of a million.

Each of `SUMS` is a view whose rows are of one cluster and day each. So what the parts of a folder answer, one after
another, is exactly the answer of all of them; what is asked over several days is put together from it. Where nothing
was written down (rows in memory, Spark's files) the same views are asked of the facts themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

COUNTS = "NOT rejected AND NOT dry_run"
SAID = f"source <> 'denial' AND {COUNTS}"
"""Of findings: but for what was really refused."""
ANONYMOUS = "CASE WHEN root_name = '' THEN resource ELSE '' END AS anonymous"
PART = (
    "CASE WHEN subresource = '' AND operation NOT IN ('DELETE', 'CONNECT') THEN resource"
    " ELSE resource || CASE WHEN subresource = '' THEN '' ELSE '/' || subresource END"
    " || CASE operation WHEN 'DELETE' THEN ' delete' WHEN 'CONNECT' THEN ' connect' ELSE '' END END AS part"
)
"""Of a workload."""
KEPT = "preexisting AND operation = 'UPDATE' AS kept"
"""It leaves a violation as it was."""
HAND = "NOT by_controller AND client <> '' AS hand"

_PLACE = "cluster, day, namespace"
_ROOT = f"root_kind, root_name, {ANONYMOUS}"
ABOUT = '"group", version, resource, subresource, operation'
"""What a write is about."""

SUMS: Mapping[str, str] = {
    "spans": "SELECT cluster, day, min(time) AS first, max(time) AS last FROM facts GROUP BY ALL",
    # What became of writes, by what they are about.
    "cells": f"""
        SELECT {_PLACE}, {ABOUT},
            CASE WHEN dry_run THEN 'dry_run' WHEN rejected THEN 'rejected' ELSE result END AS outcome,
            count(*) AS number, min(time) AS first, max(time) AS last
        FROM writes GROUP BY ALL""",  # noqa: S608 - only our own names go in
    # Since when there is a state of a workload's template, and who wrote it last but for controllers.
    "trials": f"""
        SELECT {_PLACE}, {_ROOT}, trial, min(time) AS first, max(time) FILTER (hand) AS touched,
            arg_max({{client: client, "user": "user"}}, time) FILTER (hand) AS toucher
        FROM (
            SELECT *, NOT by_controller AND operation IN ('CREATE', 'UPDATE') AS hand FROM writes
            WHERE root_name <> '' AND {COUNTS}
        ) GROUP BY ALL""",  # noqa: S608
    # Of which workloads something was said.
    "subjects": f"SELECT DISTINCT {_PLACE}, {_ROOT} FROM findings WHERE {SAID}",  # noqa: S608
    # What was: the findings that differ in nothing but their times and texts.
    "alike": f"""
        SELECT {_PLACE}, {_ROOT}, trial, policy, {PART}, source, result, {KEPT}, {HAND},
            min(time) AS least, max(time) AS most, count(*) AS number
        FROM findings WHERE {SAID} GROUP BY ALL""",  # noqa: S608
    # By which sets each policy found something, and in what.
    "sightings": f"SELECT DISTINCT cluster, day, source, policy, set_digest, {ABOUT} FROM findings",  # noqa: S608
    # What was not seen: writes, and records that could not be read.
    "gaps": f"""
        SELECT {_PLACE}, result, reason, min(time) AS first, max(time) AS last,
            CASE WHEN result = 'unreadable' THEN sum(requests)::BIGINT ELSE count(DISTINCT hash(time, request)) END
                AS number
        FROM blind GROUP BY {_PLACE}, result, reason""",  # noqa: S608
}
"""View → its query over the views of the facts. Read from files it also has the other views' columns, empty."""

KIND = "asked"
"""The column that says of which view a row is, where all of them lie in one file."""
_FORMAT = hashlib.blake2b(repr(sorted(SUMS.items())).encode(), digest_size=4).hexdigest()
"""Of the queries: what other ones have answered is of no use."""


def name(part: str) -> str:
    """The file beside the part of that id. Spark, and whoever reads all Parquet of a folder, passes it over."""
    return f"_{part}.{_FORMAT}.sums"


def current(path: str) -> bool:
    """Whether it is these queries that a file answers."""
    return path.endswith(f".{_FORMAT}.sums")


def together() -> str:
    """The query for all of them at once, as they lie in a file."""
    each = (f"SELECT '{view}' AS {KIND}, * FROM ({query})" for view, query in SUMS.items())  # noqa: S608
    return " UNION ALL BY NAME ".join(each)


def views(stored: str = "", *, make: str = "CREATE VIEW") -> Iterator[str]:
    """The statements that make the views: over the table `stored` of what was written down, or over the facts."""
    for view, query in SUMS.items():
        yield f"{make} {view} AS " + (f"SELECT * FROM {stored} WHERE {KIND} = '{view}'" if stored else query)  # noqa: S608
