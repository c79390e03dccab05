"""The questions to the facts table that `standing` asks, as SQL.

They make temporary tables `report_…`; those that say what policies are about (`report_scope`), which sets held them
(`report_held`) and how kinds are called (`report_kind`) are `standing`'s to fill.

The facts table may hold ten million writes, so it is gone through once for the findings and once for the writes of the
workloads that have some (`report_finding`, `report_write`); all else is asked of those.
"""

from __future__ import annotations

from webhook.audit.tally import TELLS_NOTHING

_BAD = "result IN ('violation', 'error')"
_REMNANT = "(older OR (preexisting AND operation = 'UPDATE'))"
"""It leaves a violation as it was, or is made of a template of which there is a newer one."""
_NO_TRIAL = ", ".join(f"'{each}'" for each in TELLS_NOTHING)
_ANONYMOUS = "CASE WHEN root_name = '' THEN resource ELSE '' END"
_PART = (
    "resource || CASE WHEN subresource = '' THEN '' ELSE '/' || subresource END"
    " || CASE operation WHEN 'DELETE' THEN ' delete' WHEN 'CONNECT' THEN ' connect' ELSE '' END"
)

_SOURCES = ("gatekeeper", "kyverno", "pod-security", "vap", "wouldblock")
_WHO = ", ".join(f"CASE WHEN bool_or({_BAD} AND source = '{each}') THEN '{each}' END" for each in _SOURCES)

FINDINGS = """
CREATE OR REPLACE TEMP TABLE report_finding AS
SELECT cluster, time, request, audit_id, source, policy, result, message, preexisting, operation, "group", version,
    resource, subresource, namespace, root_kind, root_name, "user", client, by_controller, dry_run, rejected,
    set_digest, trial
FROM findings
"""
"""All findings, refusals among them."""

WRITES = """
CREATE OR REPLACE TEMP TABLE report_write AS
SELECT cluster, time, request, result, operation, "group", version, resource, subresource, namespace, name,
    root_kind, root_name, "user", client, by_controller, dry_run, rejected, code, set_digest, trial
FROM writes SEMI JOIN report_pair USING (cluster, namespace, root_kind, root_name)
"""
"""The writes of workloads with a finding."""

BORN = f"""
CREATE OR REPLACE TEMP TABLE report_born AS
SELECT *, lead(born) OVER (PARTITION BY cluster, namespace, root_kind, root_name ORDER BY born, trial) AS replaced
FROM (
    SELECT cluster, namespace, root_kind, root_name, trial, min(time) AS born FROM report_write
    WHERE trial NOT IN ({_NO_TRIAL}) AND root_name <> '' AND NOT rejected AND NOT dry_run GROUP BY ALL
)
"""  # noqa: S608 - only our own names go in
"""When each state of a workload's template came up, and when the next one did."""

FOUND = f"""
CREATE OR REPLACE TEMP TABLE report_part AS
WITH finding AS (
    SELECT report_finding.*, coalesce(time >= replaced, false) AS older FROM report_finding
    LEFT JOIN report_born USING (cluster, namespace, root_kind, root_name, trial)
), said AS (
    SELECT *, false AS again FROM finding WHERE source = 'wouldblock'
    UNION ALL
    -- What we and another found in one write counts once. DISTINCT would do that too, at ten times the price.
    SELECT other.*, own.request IS NOT NULL FROM finding AS other
    LEFT JOIN (SELECT cluster, time, request, policy FROM report_finding WHERE source = 'wouldblock' AND {_BAD}) AS own
        ON own.cluster = other.cluster AND own.time = other.time AND own.request = other.request
        AND own.policy = other.policy
    WHERE other.source NOT IN ('wouldblock', 'denial')
)
SELECT cluster, namespace, root_kind, root_name, {_ANONYMOUS} AS anonymous, policy, {_PART} AS part,
    max(time) FILTER ({_BAD} AND NOT ({_REMNANT})) AS violated,
    max(time) FILTER ({_BAD} AND {_REMNANT}) AS remnant,
    max(time) FILTER ({_BAD} AND NOT older) AS counted,
    max(time) FILTER (result = 'exempted') AS exempted,
    max(time) FILTER (result IN ('not_comparable', 'unreviewed')) AS blind,
    arg_max(result, time) FILTER (result IN ('not_comparable', 'unreviewed')) AS cause,
    min(time) FILTER ({_BAD}) AS first,
    max(time) FILTER ({_BAD}) AS last,
    count(*) FILTER ({_BAD} AND NOT again) AS bad,
    count(*) FILTER (result = 'error' AND NOT again) AS errors,
    count(*) FILTER (result = 'not_comparable') AS incomparable,
    arg_max(preexisting, time) FILTER ({_BAD}) AS preexisting,
    arg_max(message, time) FILTER ({_BAD}) AS message,
    arg_max(audit_id, time) FILTER ({_BAD}) AS audit_id,
    arg_max(audit_id, time, 5) FILTER ({_BAD} AND NOT again) AS audit_ids,
    arg_max(client, time) FILTER ({_BAD} AND NOT by_controller) AS client,
    arg_max("user", time) FILTER ({_BAD} AND NOT by_controller) AS "user",
    arg_max(client, time) FILTER ({_BAD}) AS any_client,
    arg_max("user", time) FILTER ({_BAD}) AS any_user,
    list_filter([{_WHO}], lambda each: each IS NOT NULL) AS sources
FROM said
WHERE NOT dry_run AND NOT rejected
GROUP BY ALL
"""  # noqa: S608 - only our own names go in
"""What was found: a row for each part of a workload and policy."""

PAIR = f"""
CREATE OR REPLACE TEMP TABLE report_pair AS
SELECT cluster, namespace, root_kind, root_name, anonymous, policy, min(first) AS first FROM (
    SELECT cluster, namespace, root_kind, root_name, {_ANONYMOUS} AS anonymous, policy, min(time) AS first
    FROM report_finding WHERE {_BAD} AND source <> 'denial' AND NOT dry_run AND NOT rejected GROUP BY ALL
    UNION ALL
    SELECT cluster, namespace, root_kind, root_name, anonymous, policy, since::TIMESTAMPTZ FROM report_seed
) WHERE first IS NOT NULL GROUP BY ALL
"""  # noqa: S608 - only our own names go in
"""The workloads and policies with a violation, here or (`report_seed`) in former logs."""

LATER = f"""
CREATE OR REPLACE TEMP TABLE report_later AS
WITH later AS (
    SELECT cluster, namespace, root_kind, root_name, {_ANONYMOUS} AS anonymous, {_PART} AS part,
        "group", version, resource, subresource, operation, request, result, set_digest,
        -- What has lost its time may be later than anything else.
        coalesce(time, (SELECT max(time) FROM report_write) + INTERVAL 1 MICROSECOND) AS time
    FROM report_write
    WHERE NOT rejected AND NOT dry_run
)
SELECT pair.cluster, pair.namespace, pair.root_kind, pair.root_name, pair.anonymous, pair.policy, later.part,
    max(later.time) FILTER (later.result = 'reviewed' AND held.policy IS NOT NULL) AS passed,
    count(*) FILTER (later.result = 'reviewed' AND held.policy IS NOT NULL
        AND (found.counted IS NULL OR later.time > found.counted)) AS passes,
    min(later.time) FILTER (later.result = 'reviewed' AND held.policy IS NOT NULL
        AND (found.counted IS NULL OR later.time > found.counted)) AS passed_from,
    max(later.time) FILTER (later.result <> 'reviewed' OR held.policy IS NULL) AS blind,
    arg_max(CASE WHEN later.result = 'reviewed' THEN 'unknown_set' ELSE later.result END, later.time)
        FILTER (later.result <> 'reviewed' OR held.policy IS NULL) AS cause
FROM report_pair AS pair
JOIN later USING (cluster, namespace, root_kind, root_name, anonymous)
JOIN report_scope AS about ON about.policy = pair.policy AND about."group" = later."group"
    AND about.version = later.version AND about.resource = later.resource
    AND about.subresource = later.subresource AND about.operation = later.operation
LEFT JOIN report_held AS held ON held.policy = pair.policy AND held.digest = later.set_digest
LEFT JOIN report_part AS found ON found.cluster = pair.cluster AND found.namespace = pair.namespace
    AND found.root_kind = pair.root_kind AND found.root_name = pair.root_name AND found.anonymous = pair.anonymous
    AND found.policy = pair.policy AND found.part = later.part
ANTI JOIN (SELECT cluster, time, request, policy FROM report_finding WHERE source <> 'denial') AS said
    ON said.cluster = pair.cluster AND said.time = later.time AND said.request = later.request
    AND said.policy = pair.policy
WHERE later.time > pair.first
GROUP BY ALL
"""  # noqa: S608
"""What was written later: whether it passed, or was not seen. A review counts only by a set that held the policy."""

GONE = """
SELECT cluster, namespace, root_kind, root_name, epoch_us(max(time))
FROM report_write JOIN report_kind USING (root_kind, resource)
WHERE operation = 'DELETE' AND subresource = '' AND name <> '' AND NOT dry_run AND code BETWEEN 200 AND 299
GROUP BY ALL
"""
"""When workloads were deleted."""

NAMESPACES_GONE = """
SELECT cluster, name, epoch_us(max(time)) FROM writes
WHERE operation = 'DELETE' AND resource = 'namespaces' AND "group" = '' AND subresource = '' AND name <> ''
    AND NOT dry_run AND code BETWEEN 200 AND 299
GROUP BY ALL
"""
"""When whole namespaces were."""

ACTORS = """
SELECT cluster, namespace, root_kind, root_name, arg_max(client, time), arg_max("user", time)
FROM report_write
WHERE root_name <> '' AND NOT by_controller AND NOT rejected AND NOT dry_run AND operation IN ('CREATE', 'UPDATE')
GROUP BY ALL
"""
"""Who wrote the workload itself last: what controllers make of it is theirs."""

READ = """
SELECT cluster, namespace, root_kind, root_name, anonymous, policy, part,
    epoch_us(part.violated), epoch_us(part.remnant), epoch_us(later.passed), coalesce(later.passes, 0),
    epoch_us(later.passed_from),
    epoch_us(part.exempted), epoch_us(greatest(part.blind, later.blind)),
    CASE WHEN later.blind IS NULL OR part.blind > later.blind THEN part.cause ELSE later.cause END,
    epoch_us(part.first), epoch_us(part.last), coalesce(part.bad, 0), coalesce(part.errors, 0),
    coalesce(part.incomparable, 0), part.preexisting, part.message, part.audit_id,
    part.client, part."user", part.any_client, part.any_user, part.sources,
    part.audit_ids
FROM report_part AS part
FULL JOIN report_later AS later USING (cluster, namespace, root_kind, root_name, anonymous, policy, part)
ORDER BY ALL
"""
"""Both together, a row for each part."""
