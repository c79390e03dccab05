"""`policies list`, `show`, `validate` and `manifest`: what is in the set, what runs, what is wrong with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from webhook import cli
from webhook.cel.releases import parse_version
from webhook.cel.versions import Version
from webhook.cli.common import policies_of
from webhook.cli.policies.output import as_json, problem_record
from webhook.cli.policies.paths import exist
from webhook.errors import InvalidInput, UserError
from webhook.load import Loaded, read
from webhook.policy import Match, Policy, Requirement, Rule, Selector
from webhook.policyset import PolicySet, archive


def list_(args: argparse.Namespace) -> int:
    policies, _ = policies_of(args)
    if args.output == "json":
        print(as_json([_record(policies, policy) for policy in policies.policies]))
    else:
        rows = [(policy.id, policy.meta.severity, policy.meta.pack, policy.meta.title) for policy in policies.policies]
        _table(("ID", "SEVERITY", "PACK", "TITLE"), rows)
        print(f"{len(rows)} policies, set {policies.digest}")
    return _left_out(policies)


def show(args: argparse.Namespace) -> int:
    policies, _ = policies_of(args)
    policy = next((each for each in policies.policies if each.id == args.id), None)
    if policy is None:
        broken = [problem for problem in policies.broken if problem.policy == args.id]
        if broken:
            raise InvalidInput(broken)
        raise UserError(f"no policy {args.id!r} in the set; `wouldblock policies list` shows them")
    if args.python and not policy.python:
        raise UserError(f"{policy.id} is written in Python itself (webhook/native): there is no generated code")
    if args.output == "json":
        record = _record(policies, policy)
        print(as_json(record | {"python": policy.python} if args.python else record))
    elif args.python:
        print(policy.python.rstrip("\n"))
    else:
        _describe(policy)
    return cli.FINE


def validate(args: argparse.Namespace) -> int:
    exist(args.paths)
    version = Version(parse_version(args.kubernetes_version), new=not args.stored)
    loaded = read(args.paths, enable=["all"], version=version)  # what is off has to be good too
    if args.output == "json":
        print(as_json(_validation(loaded)))
    else:
        for problem in loaded.problems:
            print(problem)
        for note in loaded.notes:
            print(f"{note.file}:{note.line}: note: {f'{note.policy}: ' if note.policy else ''}{note.message}")
        print(f"{len(loaded.policies)} policies good, {len(loaded.problems)} problems, {len(loaded.notes)} notes")
    if not loaded.policies and not loaded.problems and not loaded.notes:
        raise UserError(f"{', '.join(map(str, args.paths))}: no ValidatingAdmissionPolicy here")
    return cli.FOUND if loaded.problems else cli.FINE


def manifest(args: argparse.Namespace) -> int:
    policies, _ = policies_of(args)
    print(as_json(archive(policies)))
    return _left_out(policies)


def _left_out(policies: PolicySet) -> int:
    for problem in policies.broken:
        print(f"wouldblock: a policy is left out: {problem}", file=sys.stderr)
    return cli.FAILED if policies.broken else cli.FINE


def _record(policies: PolicySet, policy: Policy) -> dict[str, Any]:
    record = next(each for each in archive(policies).policies if each.id == policy.id)
    found: dict[str, Any] = msgspec.to_builtins(record)
    return found | {"source": policy.source}


def _validation(loaded: Loaded) -> dict[str, Any]:
    return {
        "policies": [policy.id for policy in loaded.policies],
        "problems": [problem_record(each) for each in loaded.problems],
        "notes": [problem_record(each) for each in loaded.notes],
    }


def _describe(policy: Policy) -> None:
    meta = policy.meta
    lines = [
        ("id", policy.id),
        ("title", meta.title),
        ("severity", str(meta.severity)),
        ("pack", meta.pack),
        ("remediation", meta.remediation),
        ("references", ", ".join(meta.references)),
        ("ticket", meta.ticket),
        ("from", policy.source),
        ("digest", policy.digest),
        ("decided by", "CEL, compiled to Python" if policy.python else "Python"),
        ("bindings", ", ".join(policy.bindings)),
        *_matched(policy.match),
        *(("binding's namespaces", _selector(each)) for each in policy.namespace_match),
    ]
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        if value:
            print(f"{name:{width}}  {value}")


def _matched(match: Match) -> list[tuple[str, str]]:
    return [
        *(("matches", _rule(rule)) for rule in match.rules),
        *(("but not", _rule(rule)) for rule in match.exclude),
        ("namespaces", _selector(match.namespace_selector)),
        ("objects", _selector(match.object_selector)),
    ]


def _rule(rule: Rule) -> str:
    groups = [f"{group}/{version}" if group else version for group in rule.groups for version in rule.versions]
    text = f"{', '.join(rule.operations)} of {', '.join(rule.resources)} ({', '.join(groups)})"
    if rule.resource_names:
        text += f" named {', '.join(rule.resource_names)}"
    return text if rule.scope == "*" else f"{text}, {rule.scope.lower()} only"


def _selector(selector: Selector) -> str:
    return ", ".join(map(_requirement, selector))


def _requirement(term: Requirement) -> str:
    values = f" ({', '.join(term.values)})" if term.values else ""
    return f"{term.key} {term.operator}{values}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head) - 1)]
    for row in [head, *rows]:
        cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]))
