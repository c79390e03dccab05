"""`policies explain`: why does this policy say this of this object?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from webhook import cli
from webhook.audit.render import safe
from webhook.cel.releases import parse_version
from webhook.cel.versions import Version
from webhook.check.explain import Explanation, Part, Round, explain
from webhook.check.explain_native import Check, explain_native, is_native
from webhook.check.files import documents
from webhook.check.mutants import window
from webhook.check.reviews import requests_of
from webhook.cli.common import policies_of
from webhook.cli.policies.output import as_json
from webhook.cli.policies.paths import exist
from webhook.cli.policies.tree import Paint, lines, record
from webhook.errors import InvalidInput, UserError
from webhook.load import gather, shipped
from webhook.policy import Finding
from webhook.review import Operation, Request, UserInfo

EPILOG = """\
examples:
  wouldblock policies explain image-tag-mutable --object deployment.yaml
  wouldblock policies explain my-policy --policies ./policies --object review.json --output json
  wouldblock policies explain pod-security-restricted --object pod.yaml
  wouldblock policies explain my-policy --policies ./policies --object new.yaml --old-object old.yaml   an UPDATE

Each part of each expression stands with its value; `>` marks what decided. FILE is a manifest, or an AdmissionReview.
`a.b.c  =  error: …` is followed by what was there. A variable stands once, with its parts, above who asks for it.
exit codes: 0 the policy would not block it, 1 it would, 2 bad input or no verdict
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID")
    parser.add_argument("--object", required=True, metavar="FILE", help="a manifest or an AdmissionReview; - is stdin")
    parser.add_argument("--old-object", metavar="FILE", help="what is stored: makes it an UPDATE")
    parser.add_argument(
        "--params", metavar="FILE", type=Path, help="params objects, in place of those that the bindings refer to"
    )
    parser.add_argument("--operation", choices=("CREATE", "UPDATE", "DELETE"), help="of a manifest (default CREATE)")
    parser.add_argument("--as", dest="user", metavar="USER", help="who writes, as in kubectl (a manifest names nobody)")
    parser.add_argument("--as-group", action="append", default=[], metavar="GROUP", help="and of which groups")
    parser.add_argument("--namespace", default="default", help="of a manifest that names none (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    request = _request(args)
    if is_native(args.id):
        return _native(args, request)
    version = Version(parse_version(args.kubernetes_version))
    gathered = gather(args.policies or shipped(), version=version)
    spec = gathered.policies.get(args.id)
    problems = [each for each in gathered.problems if each.policy in (args.id, "")]
    if problems:
        raise InvalidInput(problems)
    if spec is None:
        raise UserError(f"no policy {args.id!r} in the set; `wouldblock policies list` shows them")
    _, state = policies_of(args)
    found = explain(
        spec,
        [each for each in gathered.bindings.values() if each.policy == spec.id],
        request,
        state=state,
        folder=gathered.objects,
        params=_params(args.params),
        version=version,
    )
    if args.output == "json":
        print(as_json(as_record(found)))
    else:
        for line in text(found, Paint()):
            print(line)
    if found.unknown or any(part.unknown for each in found.rounds for part in _parts(each)):
        return cli.FAILED
    return cli.FOUND if _findings(found) else cli.FINE


def _request(args: argparse.Namespace) -> Request:
    """The one request of the files."""
    found = list(_read(args.object, args))
    if len(found) != 1:
        raise UserError(f"{args.object}: {len(found)} objects, expected one: give one object a file")
    request = found[0]
    if args.old_object is not None:
        old = list(_read(args.old_object, args))
        if len(old) != 1:
            raise UserError(f"{args.old_object}: {len(old)} objects, expected one")
        request = msgspec.structs.replace(request, operation="UPDATE", old_object=old[0].object)
    if args.user is not None:
        user = UserInfo(username=args.user, groups=tuple(args.as_group))
        request = msgspec.structs.replace(request, user_info=user)
    return request


def _read(file: str, args: argparse.Namespace) -> Iterator[Request]:
    data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    name = "standard input" if file == "-" else file
    for where, document in documents(data, name=name):
        operation: Operation = args.operation or "CREATE"
        yield from requests_of(document, where=where, namespace=args.namespace, operation=operation)


def _params(path: Path | None) -> Sequence[Mapping[str, Any]]:
    if path is None:
        return ()
    exist([path])
    found = gather([path]).objects
    if not found:
        raise UserError(f"{path}: no object here that could be a param: it needs apiVersion, kind and metadata.name")
    return found


def _parts(each: Round) -> Iterator[Part]:
    yield from each.conditions
    yield from each.variables
    for judged in each.validations:
        yield judged.part
        if judged.message is not None:
            yield judged.message
    yield from each.annotations


def _findings(found: Explanation) -> Sequence[Finding | str]:
    if found.verdict is not None:
        return found.verdict.findings
    return [judged.said for each in found.rounds for judged in each.validations if judged.fires]


def text(found: Explanation, paint: Paint) -> Iterator[str]:
    request = found.request
    name = f"{request.kind.kind} {'/'.join(filter(None, (request.namespace, request.name)))}"
    yield paint(f"{found.spec.id}: {request.operation} of {safe(name)}", "bold")
    if found.unmatched:
        yield f"not its business: {found.unmatched}"
    elif found.unknown:
        yield f"no verdict that would equal the API server's: {found.unknown}"
    yield from _outcome(found, paint)
    for each in found.rounds:
        yield from _round(found, each, paint)


def _outcome(found: Explanation, paint: Paint) -> Iterator[str]:
    findings = _findings(found)
    for finding in findings:
        text = finding if isinstance(finding, str) else finding.message
        yield f"{paint('would be blocked:', 'red')} {safe(text)}"
    if found.verdict is not None:
        for key, value in found.verdict.annotations:
            yield f"audit annotation {key}: {safe(value)}"
    if not (findings or found.unknown or found.unmatched):
        said = found.verdict is not None or any(each.validations for each in found.rounds)
        yield paint("would not be blocked", "green") if said else "not its business: see below"


def _round(found: Explanation, each: Round, paint: Paint) -> Iterator[str]:
    several = len(found.rounds) > 1 or each.param or each.problem or not each.binding
    if several:
        param = f" with param {safe(each.param)}" if each.param else ""
        yield f"\nbinding {each.binding}{param}" if each.binding else f"\nno binding names this policy{param}"
    if each.problem:
        yield f"  does nothing: {safe(each.problem)}"
    for part in each.conditions:
        yield from _part(part, f"match condition {part.name}", paint)
    for part in each.variables:
        yield from _part(part, f"variables.{part.name}", paint)
    for judged in each.validations:
        yield from _part(judged.part, f"validation {judged.part.name}", paint)
        if judged.message is not None:
            yield from _part(judged.message, f"message of validation {judged.part.name}", paint)
        if judged.fires:
            yield f"  {paint('says:', 'red')} {safe(judged.said)}"
    for part in each.annotations:
        yield from _part(part, f"audit annotation {part.name}", paint)


def _part(part: Part, title: str, paint: Paint) -> Iterator[str]:
    place = part.place
    cost = "" if part.cost is None else f", cost {part.cost}"
    where = f"{_shortest(place.file)}:{place.line}:{place.column}"
    yield f"\n{paint(title, 'bold')}  {paint(f'({where}{cost})', 'dim')}"
    if part.step is None:
        yield f"  {safe(part.text)}\n  no value: {part.unknown}"
        return
    # Of what only matters by its value the parts are in the JSON.
    whole = part.role in ("variable", "validation") or part.step.failed or part.value is False
    tree = lines(part.step, paint, 1)
    yield from tree if whole else islice(tree, 1)
    if place.caret:
        source, caret = window(place.source, place.caret)
        yield f"   | {safe(source)}"
        yield f"   | {' ' * (caret - 1)}{paint('^ decided', 'red')}"


def _shortest(file: str) -> str:
    """The file as one would type it here."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def as_record(found: Explanation) -> dict[str, Any]:
    verdict = found.verdict
    return {
        "policy": found.spec.id,
        "operation": found.request.operation,
        "kind": found.request.kind.kind,
        "namespace": found.request.namespace,
        "name": found.request.name,
        "unmatched": found.unmatched,
        "noVerdict": found.unknown,
        "blocked": [each if isinstance(each, str) else each.message for each in _findings(found)],
        "annotations": {} if verdict is None else dict(verdict.annotations),
        "rounds": [
            {
                "binding": each.binding,
                "param": each.param,
                "problem": each.problem,
                "parts": [_part_record(part) for part in _parts(each)],
                "said": {judged.part.name: judged.said for judged in each.validations if judged.fires},
            }
            for each in found.rounds
        ],
    }


def _part_record(part: Part) -> dict[str, Any]:
    made: dict[str, Any] = {
        "role": part.role,
        "name": part.name,
        "path": part.place.path,
        "file": part.place.file,
        "line": part.place.line,
        "column": part.place.column,
        "cost": part.cost,
    }
    if part.step is None:
        return made | {"expression": part.text, "noValue": part.unknown}
    return made | {"tree": record(part.step)}


def _native(args: argparse.Namespace, request: Request) -> int:
    """Pod Security: which check, which container, which field."""
    policies, state = policies_of(args)
    policy = next((each for each in policies.policies if each.id == args.id), None)
    if policy is None:
        raise UserError(f"no policy {args.id!r} in the set")
    found = explain_native(policy, request, state=state)
    if args.output == "json":
        print(as_json(found))
    else:
        paint = Paint()
        print(paint(f"{args.id}: {request.operation} of {request.kind.kind} {safe(request.name)}", "bold"))
        if found.unmatched:
            print(f"not its business: {found.unmatched}")
        for check in found.checks:
            for line in _check(check, paint):
                print(line)
        print()
        print(f"{paint('would be blocked:', 'red')} {safe(found.message)}" if found.message else "would not be blocked")
    return cli.FOUND if found.message else cli.FINE


def _check(check: Check, paint: Paint) -> Iterator[str]:
    yield f"\n{paint(check.id, 'bold')}: {check.title}"
    yield f"  {paint(safe(check.said), 'red')}"
    for field in check.fields:
        yield f">   {safe(field.path)}  =  {safe(field.value)}"
    yield f"  allowed: {', '.join(check.allowed)}"
    yield f"  fix: {check.remediation}"
