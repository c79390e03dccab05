"""The questions to the facts table that `standing` asks, as SQL.

They make temporary tables `report_…`. Those that say what former logs showed (`report_seed`), what policies are about
(`report_scope`), which sets held them (`report_held`) and how kinds are called (`report_kind`) `standing` fills.

The facts table may hold ten million rows, and DuckDB is bounded in memory. So workloads are numbered first, what is
kept for each of them is of fixed size, texts are fetched at the end for the few rows that are shown, and of the writes
only those are looked at that can still change something.
"""

from __future__ import annotations

from webhook.audit.table.sums import ABOUT, ANONYMOUS, COUNTS, HAND, KEPT, PART, SAID
from webhook.audit.tally import TELLS_NOTHING

_BAD = "result IN ('violation', 'error')"
_NOT_OURS = f"source NOT IN ('wouldblock', 'denial') AND {COUNTS}"
_NO_TRIAL = ", ".join(f"'{each}'" for each in TELLS_NOTHING)
_NAMED = "cluster, namespace, root_kind, root_name, anonymous"
_KEY = "root, policy, part"

SOURCES = ("gatekeeper", "kyverno", "pod-security", "vap", "wouldblock")
"""By the bits that stand for them in `sources`."""
_BIT = " ".join(f"WHEN '{each}' THEN {1 << bit}" for bit, each in enumerate(SOURCES))


def _of(view: str, columns: str, where: str) -> str:
    """Rows of a view with the number of their workload."""
    return (
        f"SELECT root, {columns} FROM (SELECT *, {ANONYMOUS} FROM {view} WHERE {where})"  # noqa: S608 - our own names
        f" JOIN report_root USING ({_NAMED})"
    )


CELLS = f"""
CREATE TEMP TABLE IF NOT EXISTS report_cell AS
SELECT cluster, namespace, day, {ABOUT}, outcome, number, last FROM cells
"""  # noqa: S608 - only our own names go in
"""What became of writes, by place, day and what they are about. Whoever asks first makes it."""

NO_CELLS = "DROP TABLE IF EXISTS report_cell"
"""For who changes what the views hold."""

SEEN = f"SELECT DISTINCT source, policy, set_digest, {ABOUT} FROM sightings"  # noqa: S608
"""By which sets each policy found something, and in what."""

ROOTS = f"""
CREATE OR REPLACE TEMP TABLE report_root AS
SELECT (row_number() OVER (ORDER BY {_NAMED}))::INTEGER AS root, * FROM (
    SELECT {_NAMED} FROM subjects
    UNION
    SELECT {_NAMED} FROM report_seed
)
"""  # noqa: S608
"""Numbers, in the order of their names, for the workloads of which something is or (`report_seed`) was said."""

TRIALS = f"""
CREATE OR REPLACE TEMP TABLE report_trial AS
SELECT root, trial, min(first) AS born, max(touched) AS touched, arg_max(toucher, touched) AS toucher
FROM trials JOIN report_root USING ({_NAMED}) GROUP BY ALL
"""  # noqa: S608
"""Since when there is a state of a workload's template, and who wrote it last but for controllers."""

BORN = f"""
CREATE OR REPLACE TEMP TABLE report_born AS
SELECT root, trial, replaced, (replaced AT TIME ZONE 'UTC')::DATE AS turn FROM (
    SELECT root, trial, lead(born) OVER (PARTITION BY root ORDER BY born, trial) AS replaced
    FROM report_trial WHERE trial NOT IN ({_NO_TRIAL})
) WHERE replaced IS NOT NULL
"""  # noqa: S608
"""When a newer state of a workload's template came up."""

ACTORS = """
CREATE OR REPLACE TEMP TABLE report_actor AS
SELECT root, actor.client, actor."user" FROM (
    SELECT root, arg_max(toucher, touched) AS actor FROM report_trial WHERE touched IS NOT NULL GROUP BY ALL
)
"""
"""Who wrote the workload itself last: where only controllers made what violates, that is theirs."""


AGAIN = f"""
CREATE OR REPLACE TEMP TABLE report_again AS
WITH other AS (SELECT DISTINCT cluster, time, request, policy FROM findings WHERE {_NOT_OURS})
SELECT * FROM other SEMI JOIN (
    SELECT cluster, time, request, policy FROM findings
    WHERE source = 'wouldblock' AND {_BAD} AND request IN (SELECT request FROM other)
) AS own USING (cluster, time, request, policy)
"""  # noqa: S608
"""What we and another found in one write counts once."""

_SAYS = f"policy, part, CASE source {_BIT} ELSE 0 END AS source, result, {_BAD} AS violates, kept, hand, trial, day"
_FINDING = f"policy, {PART}, source, result, {KEPT}, {HAND}, trial, day, time AS least, time AS most, 1 AS number"


def _rows(where: str) -> str:
    """Findings of which nobody else says the same."""
    return f"SELECT root, {_SAYS}, false AS again, least, most, number FROM ({_of('findings', _FINDING, where)})"  # noqa: S608


_TOGETHER = f"""
    {_rows(f"source = 'wouldblock' AND {COUNTS}")}
    UNION ALL
    SELECT root, {_SAYS}, again.request IS NOT NULL AS again, least, most, number
    FROM ({_of("findings", f"{_FINDING}, cluster, time, request", _NOT_OURS)})
    LEFT JOIN report_again AS again USING (cluster, time, request, policy)
"""  # noqa: S608 - only our own names go in
_EACH = "SELECT said.*, coalesce(least >= replaced, false) AS older FROM"
_BY_DAY = f"""
    {_EACH} (
        SELECT root, {_SAYS}, false AS again, least, most, number FROM alike JOIN report_root USING ({_NAMED})
    ) AS said LEFT JOIN report_born USING (root, trial) WHERE (day = turn) IS NOT TRUE
    UNION ALL
    -- On the day on which a newer template came up, some are older and some are not.
    {_EACH} ({_rows(f"{SAID} AND day IN (SELECT turn FROM report_born)")}) AS said
    JOIN report_born USING (root, trial) WHERE day = turn
"""  # noqa: S608


def found(examples: int, *, together: bool) -> str:
    """What was found: a row for each part of a workload and policy; with the times of that many latest writes.

    `together`: we and others found something; then `AGAIN` goes before.
    """
    rows = f"{_EACH} ({_TOGETHER if together else _rows(SAID)}) AS said LEFT JOIN report_born USING (root, trial)"
    return f"""
CREATE OR REPLACE TEMP TABLE report_part AS
WITH finding AS (
    -- It leaves a violation as it was, or is made of a template of which there is a newer one.
    SELECT *, older OR kept AS remains FROM ({rows if together or examples else _BY_DAY})
), grouped AS (
    -- Few are not alike: what is asked below is asked of them, not of each finding.
    SELECT {_KEY}, source, result, violates, older, remains, hand, again,
        min(least) AS least, max(most) AS most, sum(number) AS number,
        {f"max(most, {examples}) FILTER (violates AND NOT again)" if examples else "NULL::TIMESTAMPTZ[]"} AS latest
    FROM finding GROUP BY ALL
)
SELECT {_KEY},
    max(CASE WHEN violates AND NOT remains THEN most END) AS violated,
    max(CASE WHEN violates AND remains THEN most END) AS remnant,
    max(CASE WHEN violates AND NOT older THEN most END) AS counted,
    max(CASE WHEN result = 'exempted' THEN most END) AS exempted,
    max(CASE WHEN result = 'not_comparable' THEN most END) AS not_comparable,
    max(CASE WHEN result = 'unreviewed' THEN most END) AS unreviewed,
    min(CASE WHEN violates THEN least END) AS first,
    max(CASE WHEN violates THEN most END) AS last,
    max(CASE WHEN violates AND hand THEN most END) AS by_hand,
    list_slice(list_reverse_sort(flatten(list(latest))), 1, {examples}) AS latest,
    sum(CASE WHEN violates AND NOT again THEN number ELSE 0 END)::BIGINT AS bad,
    sum(CASE WHEN result = 'error' AND NOT again THEN number ELSE 0 END)::BIGINT AS errors,
    sum(CASE WHEN result = 'not_comparable' THEN number ELSE 0 END)::BIGINT AS incomparable,
    bit_or(CASE WHEN violates THEN source ELSE 0 END) AS sources
FROM grouped
GROUP BY ALL
ORDER BY root
"""  # noqa: S608 - only our own names go in


_TIMES = "SELECT unnest(list_concat([last, by_hand], latest)) AS time FROM report_part"

SHOWN = f"""
CREATE OR REPLACE TEMP TABLE report_shown AS
SELECT * FROM ({
    _of(
        "findings",
        f'policy, {PART}, time, source, preexisting, message, audit_id, by_controller, client, "user"',
        f"{_BAD} AND {SAID} AND time IN ({_TIMES})",
    )
})
QUALIFY row_number() OVER (PARTITION BY {_KEY}, time ORDER BY by_controller, source DESC, audit_id, message) = 1
ORDER BY root
"""  # noqa: S608
"""The findings whose texts are shown. Times are to the microsecond: few others are among them."""

PAIRS = f"""
CREATE OR REPLACE TEMP TABLE report_pair AS
SELECT root, policy, min(first) AS first, min(violated) AS least FROM (
    SELECT root, policy, first, coalesce(violated, first) AS violated FROM report_part
    UNION ALL
    SELECT root, policy, since::TIMESTAMPTZ, since::TIMESTAMPTZ FROM report_seed JOIN report_root USING ({_NAMED})
) WHERE first IS NOT NULL GROUP BY ALL
"""  # noqa: S608
"""The workloads and policies with a violation, here or in former logs."""

BOUNDS = f"""
CREATE OR REPLACE TEMP TABLE report_bound AS
SELECT pair.root, pair.policy, scope.part, found.counted,
    -- What the object itself says is also held against its other parts.
    CASE WHEN kind.resource IS NOT NULL THEN pair.least ELSE coalesce(found.violated, pair.first) END AS since
FROM report_pair AS pair
JOIN (SELECT DISTINCT policy, {PART} FROM report_scope) AS scope ON scope.policy = pair.policy
JOIN report_root AS workload ON workload.root = pair.root
LEFT JOIN report_kind AS kind ON kind.root_kind = workload.root_kind AND kind.resource = scope.part
LEFT JOIN report_part AS found ON found.root = pair.root AND found.policy = pair.policy AND found.part = scope.part
"""  # noqa: S608
"""For each part of a workload that a policy is about: since when a write tells something new."""

LATEST = f"""
CREATE OR REPLACE TEMP TABLE report_write AS
SELECT written.* EXCLUDE (time),
    -- What has lost its time may be later than anything else.
    coalesce(time, (SELECT max(last) FROM report_cell) + INTERVAL 1 MICROSECOND) AS time
FROM ({_of("writes", f"{ABOUT}, {PART}, cluster, time, request, result, set_digest", COUNTS)}) AS written
JOIN (SELECT root, part, min(since) AS since FROM report_bound GROUP BY ALL) AS bound USING (root, part)
WHERE time IS NULL OR time > since
"""  # noqa: S608
"""The writes that may tell something new of some policy."""

LATER = f"""
CREATE OR REPLACE TEMP TABLE report_later AS
WITH later AS (
    SELECT bound.*, later.time, later.result, later.result = 'reviewed' AND held.policy IS NOT NULL AS seen
    FROM report_write AS later
    JOIN report_bound AS bound ON bound.root = later.root AND bound.part = later.part AND later.time > bound.since
    SEMI JOIN report_scope AS about ON about.policy = bound.policy AND about."group" = later."group"
        AND about.version = later.version AND about.resource = later.resource
        AND about.subresource = later.subresource AND about.operation = later.operation
    LEFT JOIN report_held AS held ON held.policy = bound.policy AND held.digest = later.set_digest
    ANTI JOIN (
        SELECT written.rowid AS number, policy FROM findings JOIN report_write AS written USING (cluster, time, request)
        WHERE source <> 'denial'
    ) AS said ON said.number = later.rowid AND said.policy = bound.policy
)
SELECT {_KEY},
    max(time) FILTER (seen) AS passed,
    count(*) FILTER (seen AND (counted IS NULL OR time > counted)) AS passes,
    min(time) FILTER (seen AND (counted IS NULL OR time > counted)) AS passed_from,
    max(time) FILTER (NOT seen) AS blind,
    arg_max(cause, (time, cause)) FILTER (NOT seen) AS cause
FROM (SELECT *, CASE WHEN result = 'reviewed' THEN 'unknown_set' ELSE result END AS cause FROM later)
GROUP BY ALL
ORDER BY root
"""  # noqa: S608
"""What was written later: whether it passed, or was not seen. A review counts only by a set that held the policy."""

GONE = f"""
SELECT cluster, namespace, root_kind, root_name, epoch_us(max(time)) FROM (
    SELECT cluster, namespace, root_kind, root_name, resource, time FROM writes
    WHERE operation = 'DELETE' AND subresource = '' AND name <> '' AND NOT dry_run AND code BETWEEN 200 AND 299
        AND time IS NOT NULL
) JOIN report_kind USING (root_kind, resource) SEMI JOIN report_root USING ({_NAMED.removesuffix(", anonymous")})
GROUP BY ALL
"""  # noqa: S608
"""When workloads were deleted."""

NAMESPACES_GONE = """
SELECT cluster, name, epoch_us(max(time)) FROM writes
WHERE operation = 'DELETE' AND resource = 'namespaces' AND "group" = '' AND subresource = '' AND name <> ''
    AND NOT dry_run AND code BETWEEN 200 AND 299
        AND time IS NOT NULL
GROUP BY ALL
"""
"""When whole namespaces were."""

FOUND = ("report_trial", "report_born", "report_pair", "report_bound", "report_write")
"""Tables that nobody needs any more when it comes to `READ`."""
TAKEN = ("report_part", "report_shown", "report_later", "report_actor", "report_root")
"""And those behind it. The large ones are in the order of their workloads, so that DuckDB looks at a batch only."""

BATCHES = """
SELECT min(root), max(root) FROM (
    SELECT root, sum(parts) OVER (ORDER BY root) // 10_000 AS batch FROM (
        SELECT root, count(*) AS parts FROM report_root LEFT JOIN report_part USING (root) GROUP BY ALL
    )
) GROUP BY batch ORDER BY ALL
"""
"""Workloads of which everything can be held at once: the first and the last of each batch."""

_HIDDEN = "greatest(part.not_comparable, part.unreviewed)"

READ = f"""
WITH part AS (SELECT * FROM report_part WHERE root BETWEEN $first AND $last),
later AS (SELECT * FROM report_later WHERE root BETWEEN $first AND $last),
shown AS (SELECT * FROM report_shown WHERE root BETWEEN $first AND $last),
workload AS (
    SELECT report_root.*, client, "user" FROM report_root LEFT JOIN report_actor USING (root)
    WHERE root BETWEEN $first AND $last
)
SELECT {_NAMED}, policy, part,
    epoch_us(part.violated), epoch_us(part.remnant), epoch_us(later.passed), coalesce(later.passes, 0),
    epoch_us(later.passed_from), epoch_us(part.exempted), epoch_us(greatest({_HIDDEN}, later.blind)),
    CASE WHEN later.blind IS NOT NULL AND ({_HIDDEN} IS NULL OR later.blind >= {_HIDDEN}) THEN later.cause
        WHEN part.not_comparable = {_HIDDEN} THEN 'not_comparable' WHEN part.unreviewed = {_HIDDEN} THEN 'unreviewed'
        END,
    epoch_us(part.first), epoch_us(part.last), coalesce(part.bad, 0), coalesce(part.errors, 0),
    coalesce(part.incomparable, 0), newest.preexisting, newest.message, newest.audit_id, newest.client, newest."user",
    hand.client, hand."user", workload.client, workload."user", coalesce(part.sources, 0), example.audit_ids
FROM part
FULL JOIN later USING ({_KEY})
JOIN workload USING (root)
LEFT JOIN shown AS newest ON newest.root = part.root AND newest.policy = part.policy AND newest.part = part.part
    AND newest.time = part.last
LEFT JOIN shown AS hand ON hand.root = part.root AND hand.policy = part.policy AND hand.part = part.part
    AND hand.time = part.by_hand
LEFT JOIN (
    SELECT {_KEY}, list(audit_id ORDER BY time DESC) AS audit_ids
    FROM shown JOIN (SELECT {_KEY}, unnest(latest) AS time FROM part) USING ({_KEY}, time) GROUP BY ALL
) AS example USING ({_KEY})
ORDER BY root, policy, part
"""  # noqa: S608
"""All of it together, a row for each part of some of the workloads."""
