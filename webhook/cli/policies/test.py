"""`policies test`: do the cases hold, and would they notice if the policy were another?"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from webhook import cli
from webhook.check import cases
from webhook.check.mutation import Survey, survey
from webhook.cli.policies.output import as_json, problem_record
from webhook.cli.policies.paths import exist
from webhook.errors import UserError
from webhook.load import shipped

EPILOG = """\
examples:
  wouldblock policies test                             the cases of the shipped policies
  wouldblock policies test ./policies/my-policy.yaml   runs my-policy.cases.yaml beside it
  wouldblock policies test --mutate my-policy.yaml     and would they notice a changed policy?

--mutate negates conditions, drops clauses, flips comparisons, moves boundaries by one, swaps `all` and `exists`, and
leaves out match conditions and validations, one at a time. A change that lets every case pass is reported with its
place: add a case that tells the two apart. What no case can tell apart goes into the case file with the reason:
  equal: {"spec.validations[0].expression: off by one: 1 instead of 0": "there is no count below one"}

exit codes: 0 all as expected, 1 some not, or a change that no case notices, 2 cases that cannot be read
"""


def run(args: argparse.Namespace) -> int:
    exist(args.paths)
    files = list(_files(args.paths or list(shipped())))
    results = [
        {"policy": file.policy.stem, "case": case.name, "wrong": wrong}
        for file in files
        for case, wrong in cases.Bench(file).results()
    ]
    if not results:
        raise UserError("no cases here: a policy's cases stand in <id>.cases.yaml beside <id>.yaml")
    failed = [result for result in results if result["wrong"]]
    # A policy whose cases fail as it is would hide every change.
    surveys = _surveys(files) if args.mutate and not failed else []
    if args.output == "json":
        print(as_json({"cases": results, "mutations": list(map(_record, surveys))} if args.mutate else results))
    else:
        for result in failed:
            print(f"{result['policy']}: {result['case']}: {result['wrong']}")
        print(f"{len(results)} cases, {len(failed)} not as expected")
        _print(surveys)
    found = failed or any(each.survivors or each.unused for each in surveys)
    return cli.FOUND if found else cli.FINE


def _files(paths: list[Path]) -> Iterator[cases.CaseFile]:
    for path in cases.find(paths):
        if not cases.is_native(path):
            yield cases.read(path)


def _surveys(files: list[cases.CaseFile]) -> list[Survey]:
    return [survey(file) for file in files]


def _print(surveys: list[Survey]) -> None:
    for each in surveys:
        for mutant in each.survivors:
            print(f"{mutant.place}\n  became: {mutant.text}\n  and no case of {each.policy} noticed")
        for name in each.unused:
            print(f"{each.policy}: `equal` names a change that is noticed, or is none: {name}")
    if surveys:
        tried, equal = sum(each.tried for each in surveys), sum(each.equal for each in surveys)
        alive = sum(len(each.survivors) for each in surveys)
        same = f", {equal} equal to the policy as the case files say" if equal else ""
        print(f"{tried} changed policies, {alive} not noticed{same}")


def _record(each: Survey) -> dict[str, Any]:
    return {
        "policy": each.policy,
        "tried": each.tried,
        "equal": each.equal,
        "unused": each.unused,
        "survivors": [
            {"name": mutant.name, "became": mutant.text, **problem_record(mutant.place)} for mutant in each.survivors
        ],
    }
