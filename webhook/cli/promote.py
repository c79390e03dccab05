"""`wouldblock promote ID…`: the objects that enforce a policy, where the evidence allows it."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence

from msgspec import structs

from webhook import cli, promote
from webhook.audit.render import CLUSTER_SCOPED, moment, safe, title
from webhook.audit.subject import POD_SECURITY
from webhook.audit.verdict import Readiness
from webhook.cli import evidence
from webhook.errors import UserError
from webhook.load import shipped

_EPILOG = """\
examples:
  wouldblock promote pod-security-baseline --log audit.log | kubectl apply --server-side -f -
  wouldblock promote image-tag-mutable --log audit.log --namespace shop > enforce.yaml
  wouldblock promote image-tag-mutable --force --namespace shop         # without evidence: you vouch for it

What is printed denies in exactly the namespaces whose verdict is `enforce` (`wouldblock readiness`). A CEL policy
becomes its ValidatingAdmissionPolicy with a binding that denies, a Pod Security level the labels of Namespaces.

exit codes: 0 printed, 1 refused (the reasons are on stderr), 2 could not read
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument(
        "policies_asked", nargs="+", metavar="ID", help="policies, as `wouldblock readiness` names them"
    )
    parser.add_argument("--log", nargs="+", action="extend", default=[], metavar="LOG", help="audit logs, as evidence")
    parser.add_argument(
        "--namespace",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="enforce in these (default: wherever the verdict is `enforce`)",
    )
    parser.add_argument("--force", action="store_true", help="print it whatever the verdict is; needs --namespace")
    parser.add_argument(
        "--server-version",
        metavar="v1.N",
        help="version that Pod Security labels are pinned to when the evidence is for `latest` (default: the log's)",
    )
    evidence.add_flags(parser)


def run(args: argparse.Namespace) -> int:
    if args.force and not args.namespace:
        raise UserError("--force needs --namespace: say where to enforce what there is no evidence for")
    if not args.log and not args.force:
        raise UserError("--log is missing: give the audit logs that show it is safe, or --force to go without evidence")
    if args.server_version and not _VERSION.fullmatch(args.server_version):
        raise UserError(f"--server-version {args.server_version!r}: expected v1.N, such as v1.37")
    found = evidence.collect(args, args.log) if args.log else None
    manifests = promote.read(args.policies or shipped())
    stored = promote.read(args.snapshot or [])
    # With --manifest the evidence is about what served; what is applied has to be the same.
    current = (
        {each.id: each.digest for record in evidence.compiled(args) for each in record.policies}
        if args.manifest
        else None
    )
    objects: list[promote.Object] = []
    comments: list[str] = []
    refused = False
    for policy in dict.fromkeys(args.policies_asked):
        _must_be_promotable(policy, manifests, stored)
        rows = evidence.select(found, [policy], args.namespace) if found is not None else []
        if not args.force:
            rows = [_checked(row, manifests, found, current) for row in rows]
        allowed = sorted(set(args.namespace)) if args.force else _allowed(rows)
        refusals = [row for row in rows if row.verdict != "enforce"]
        for row in refusals:
            _say(f"{'forced' if args.force else 'refused'}: {_where(row)}: {row.verdict}: {row.reason}")
        refused = refused or not allowed or (bool(refusals) and bool(args.namespace) and not args.force)
        if not allowed:
            _say(f"refused: {safe(policy)}: no namespace's verdict is `enforce`")
            continue
        comments += [_evidence(row) for row in rows if row.namespace in allowed]
        if policy.startswith(POD_SECURITY):
            objects += _levels(args, policy.removeprefix(POD_SECURITY), allowed, rows, found)
        else:
            named = [namespace for namespace in allowed if namespace]
            native = any(row.basis == "native" for row in rows) and policy in stored.policies
            source = stored if native or policy not in manifests.policies else manifests
            objects += promote.enforce_policy(source, policy, named, cluster="" in allowed, audited=native)
    if objects:
        print(promote.to_yaml(_merged(objects), comments=comments), end="")
    return cli.FOUND if refused else cli.FINE


_VERSION = re.compile(r"v1\.\d+")


def _must_be_promotable(policy: str, *sources: promote.Manifests) -> None:
    known = [POD_SECURITY + each for each in promote.LEVELS]
    known += sorted({name for source in sources for name in source.policies})
    if policy not in known:
        raise UserError(
            f"no manifest of {safe(policy)!r} in --policies or --snapshot; there are {safe(', '.join(known))}"
        )


def _checked(
    row: Readiness, manifests: promote.Manifests, found: evidence.Evidence | None, current: Mapping[str, str] | None
) -> Readiness:
    """The verdict, refused where what would be applied is not what the evidence is about."""
    if row.verdict != "enforce" or found is None:
        return row
    reason = ""
    if row.policy == f"{POD_SECURITY}baseline" and found.enforced(row.namespace) == "restricted":
        reason = "the namespace enforces restricted already; baseline would be weaker"
    elif (
        current is not None
        and row.basis == "webhook"
        and row.policy in manifests.policies
        and current.get(row.policy) != found.digests.get(row.policy)
    ):
        reason = "the policy in --policies is not the version that the evidence is about (--manifest)"
    return (
        structs.replace(row, verdict="not enough evidence", condition="other_policy", reason=reason) if reason else row
    )


def _allowed(rows: Sequence[Readiness]) -> list[str]:
    """Namespaces all of whose verdicts are `enforce`: Pod Security has one for each version seen."""
    bad = {row.namespace for row in rows if row.verdict != "enforce"}
    return sorted({row.namespace for row in rows} - bad)


def _levels(
    args: argparse.Namespace,
    level: str,
    namespaces: Sequence[str],
    rows: Sequence[Readiness],
    found: evidence.Evidence | None,
) -> list[promote.Object]:
    objects: list[promote.Object] = []
    minors = found.facts.server_minors if found is not None else set()
    for namespace in namespaces:
        versions = {row.version for row in rows if row.namespace == namespace}
        version = max((each for each in versions if each not in ("", "latest")), key=_minor, default="")
        if "latest" in versions or not version:
            version = args.server_version or (f"v1.{max(minors)}" if minors else "")
        if not version:
            raise UserError(
                "the evidence is for `latest`, and the log does not show which version that was: give --server-version "
                "v1.N, so that an upgrade does not enforce rules that nobody has seen evidence for"
            )
        objects += promote.enforce_level(level, version, [namespace])
    return objects


def _minor(version: str) -> int:
    return int(version.removeprefix("v1."))


def _merged(objects: Sequence[promote.Object]) -> list[promote.Object]:
    """Each object once: params may be shared, and of two levels for a namespace the stricter includes the other."""
    merged: dict[tuple[str, str, str], promote.Object] = {}
    for each in objects:
        key = each["kind"], each["metadata"].get("namespace") or "", each["metadata"]["name"]
        before = merged.get(key)
        if before is None or each["kind"] != "Namespace" or _strict(each) >= _strict(before):
            merged[key] = each
    return list(merged.values())


def _strict(namespace: promote.Object) -> int:
    return promote.LEVELS.index(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"])


def _where(row: Readiness) -> str:
    return f"{safe(title(row))} in {safe(row.namespace or CLUSTER_SCOPED)}"


def _evidence(row: Readiness) -> str:
    seen = f"{row.k} of {row.n} changes open, {row.reviewed} of {row.writes} writes reviewed"
    return f"{_where(row)}: {row.verdict}: {seen}, {moment(row.start)} to {moment(row.end)}"


def _say(text: str) -> None:
    print(text, file=sys.stderr)
