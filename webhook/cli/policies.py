"""`wouldblock policies`: what is in the set, what runs, what is wrong with it, and whether its cases hold."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from webhook import cli
from webhook.check import cases
from webhook.cli.common import add_policy_flags, policies_of
from webhook.errors import InvalidInput, Problem, UserError, WouldblockError
from webhook.load import Loaded, read, shipped
from webhook.policy import Match, Policy, Requirement, Rule, Selector
from webhook.policyset import PolicySet, archive

_EPILOG = """\
examples:
  wouldblock policies list
  wouldblock policies show image-tag-mutable --python
  wouldblock policies validate ./policies
  wouldblock policies manifest > policies.json        what `readiness` needs to know of the set that serves
"""
_LIST_EPILOG = "example:\n  wouldblock policies list --policies ./policies --output json\n"
_SHOW_EPILOG = """\
examples:
  wouldblock policies show image-tag-mutable
  wouldblock policies show image-tag-mutable --python      the code that runs, made from its CEL expressions
"""
_VALIDATE_EPILOG = """\
examples:
  wouldblock policies validate ./policies
  wouldblock policies validate policy.yaml binding.yaml params.yaml --output json

A policy is good when the API server would accept it. Notes are no problems.
exit codes: 0 all good, 1 problems found, 2 nothing to validate
"""
_MANIFEST_EPILOG = "example:\n  wouldblock policies manifest --policies ./policies > policies.json\n"
_TEST_EPILOG = """\
examples:
  wouldblock policies test                             the cases of the shipped policies
  wouldblock policies test ./policies/my-policy.yaml   runs my-policy.cases.yaml beside it

exit codes: 0 all as expected, 1 some not, 2 cases that cannot be read
"""


def register(parser: argparse.ArgumentParser) -> None:
    """The sub-verbs and their flags."""
    parser.epilog = _EPILOG
    verbs = parser.add_subparsers(dest="policies_verb", metavar="VERB", required=True)

    def add(name: str, summary: str, epilog: str, *, output: bool = True) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=summary, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)
        sub.description = summary[0].upper() + summary[1:] + "."
        if output:
            sub.add_argument("--output", choices=("text", "json"), default="text", help="default %(default)s")
        return sub

    add_policy_flags(add("list", "list the policies of the set in set order", _LIST_EPILOG))
    show = add("show", "show one policy: what it matches, where it comes from, its code", _SHOW_EPILOG)
    show.add_argument("id", metavar="ID")
    show.add_argument("--python", action="store_true", help="print the generated Python of a CEL policy")
    add_policy_flags(show)
    validate = add("validate", "find everything that is wrong with policy files", _VALIDATE_EPILOG)
    validate.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files or folders")
    manifest = add("manifest", "print digests and matches of the set, as JSON, for reading logs", _MANIFEST_EPILOG)
    add_policy_flags(manifest)
    test = add("test", "run the cases that stand beside policies", _TEST_EPILOG)
    test.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="files or folders (default: the shipped set)")


def run(args: argparse.Namespace) -> int:
    if args.policies_verb == "list":
        return _list(args)
    if args.policies_verb == "show":
        return _show(args)
    if args.policies_verb == "validate":
        return _validate(args)
    if args.policies_verb == "manifest":
        return _manifest(args)
    return _test(args)


def _list(args: argparse.Namespace) -> int:
    policies, _ = policies_of(args)
    if args.output == "json":
        print(_json([_record(policies, policy) for policy in policies.policies]))
    else:
        rows = [(policy.id, policy.meta.severity, policy.meta.pack, policy.meta.title) for policy in policies.policies]
        _table(("ID", "SEVERITY", "PACK", "TITLE"), rows)
        print(f"{len(rows)} policies, set {policies.digest}")
    return _left_out(policies)


def _show(args: argparse.Namespace) -> int:
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
        print(_json(record | {"python": policy.python} if args.python else record))
    elif args.python:
        print(policy.python.rstrip("\n"))
    else:
        _describe(policy)
    return cli.FINE


def _validate(args: argparse.Namespace) -> int:
    _exist(args.paths)
    loaded = read(args.paths, enable=["all"])  # what is off has to be good too
    if args.output == "json":
        print(_json(_validation(loaded)))
    else:
        for problem in loaded.problems:
            print(problem)
        for note in loaded.notes:
            print(f"{note.file}:{note.line}: note: {f'{note.policy}: ' if note.policy else ''}{note.message}")
        print(f"{len(loaded.policies)} policies good, {len(loaded.problems)} problems, {len(loaded.notes)} notes")
    if not loaded.policies and not loaded.problems and not loaded.notes:
        raise UserError(f"{', '.join(map(str, args.paths))}: no ValidatingAdmissionPolicy here")
    return cli.FOUND if loaded.problems else cli.FINE


def _manifest(args: argparse.Namespace) -> int:
    policies, _ = policies_of(args)
    print(_json(archive(policies)))
    return _left_out(policies)


def _test(args: argparse.Namespace) -> int:
    _exist(args.paths)
    results: list[dict[str, str]] = []
    for path in cases.find(args.paths or list(shipped())):
        if cases.is_native(path):
            continue
        file = cases.read(path)
        for case in file.cases:
            try:
                wrong = cases.mismatch(file, case)
            except InvalidInput:
                raise
            except WouldblockError as error:
                wrong = str(error)
            results.append({"policy": file.policy.stem, "case": case.name, "wrong": wrong})
    if not results:
        raise UserError("no cases here: a policy's cases stand in <id>.cases.yaml beside <id>.yaml")
    failed = [result for result in results if result["wrong"]]
    if args.output == "json":
        print(_json(results))
    else:
        for result in failed:
            print(f"{result['policy']}: {result['case']}: {result['wrong']}")
        print(f"{len(results)} cases, {len(failed)} not as expected")
    return cli.FOUND if failed else cli.FINE


def _exist(paths: Iterable[Path]) -> None:
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")


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
        "problems": [_problem(each) for each in loaded.problems],
        "notes": [_problem(each) for each in loaded.notes],
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {key: value for key, value in msgspec.structs.asdict(problem).items() if value not in ("", 0)}


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


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
