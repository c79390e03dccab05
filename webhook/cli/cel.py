"""`wouldblock cel eval`: what does this CEL expression give, with the API server's own values, errors and messages?

One expression with files for its inputs, for people; or JSON Lines of requests, for programs. Knows no policy.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

from webhook import cli, yamlfile
from webhook.cel.releases import parse_version
from webhook.cel.tagged import encode, plain
from webhook.cel.unit import (
    CompileError,
    CompileErrors,
    EvalError,
    Expression,
    Inputs,
    Unit,
    Variable,
    compile_unit,
)
from webhook.cel.versions import Version
from webhook.cli.common import add_version_flag
from webhook.errors import InvalidInput, NeedsState, NotComparable, UserError

_EPILOG = "example:\n  wouldblock cel eval 'object.spec.replicas > 2' --object deployment.yaml\n"
_EVAL_EPILOG = """\
examples:
  wouldblock cel eval '1 + 2'
  wouldblock cel eval 'object.spec.replicas > 2' --object deployment.yaml
  kubectl get pod web -o json | wouldblock cel eval 'object.spec.containers.map(c, c.image)' --object -
  wouldblock cel eval --jsonl < requests.jsonl
  wouldblock cel eval --object deployment.yaml      without an expression, on a terminal: a prompt (:help there)

A line of --jsonl: {"id", "expression", "object", "oldObject", "params", "namespaceObject", "request",
"variables": [{"name", "expression"}], "return"}; all but the expression may be absent, and what is absent is not
declared. `return` is bool, string, audit (string or null) or any. The answer: {"id", "value" or "error" or
"compile_errors", "cost"}, values tagged with their type: {"int": "3"}. `cost` is in the API server's units; null where
nothing was evaluated.

exit codes: 0 every expression has a value, 1 some have an error, 2 some do not compile, or bad input
"""
_RETURNS = ("any", "bool", "string", "audit")
_FIELDS = frozenset(
    ("id", "expression", "object", "oldObject", "params", "namespaceObject", "request", "variables", "return")
)
_SURROGATE: Final = re.compile(r"\\u[dD][89abAB]|\\u[dD][c-fC-F]")
_DECLARABLE = ("object", "oldObject", "params", "namespaceObject", "request")


def register(parser: argparse.ArgumentParser) -> None:
    """The sub-verbs and their flags."""
    parser.epilog = _EPILOG
    verbs = parser.add_subparsers(dest="cel_verb", metavar="VERB", required=True)
    summary = "evaluate an expression"
    sub = verbs.add_parser(
        "eval", help=summary, epilog=_EVAL_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sub.description = summary[0].upper() + summary[1:] + "."
    sub.add_argument("expression", nargs="?", metavar="EXPR")
    sub.add_argument("--jsonl", action="store_true", help="read JSON Lines on standard input, answer one line each")
    for flag, name in (
        ("--object", "object"),
        ("--old-object", "oldObject"),
        ("--params", "params"),
        ("--namespace-object", "namespaceObject"),
        ("--request", "request"),
    ):
        sub.add_argument(flag, metavar="FILE", help=f"YAML or JSON bound to `{name}`; - is standard input")
    sub.add_argument("--return", dest="returns", choices=_RETURNS, default="any", help="required type of the result")
    add_version_flag(sub)
    sub.add_argument("--new", action="store_true", help="as in a policy that is created now; else in a stored one")
    sub.add_argument("--python", action="store_true", help="print the generated Python and do not evaluate")
    sub.add_argument("--output", choices=("text", "json"), default="text", help="default %(default)s")


def run(args: argparse.Namespace) -> int:
    prompt = args.expression is None and not args.jsonl and sys.stdin.isatty() and sys.stdout.isatty()
    if args.jsonl == (args.expression is not None) and not prompt:
        raise UserError("cel eval: give one expression, or --jsonl and requests on standard input")
    version = Version(parse_version(args.kubernetes_version), new=args.new)
    if args.jsonl:
        return _lines(sys.stdin.buffer, sys.stdout, version)
    request: dict[str, Any] = {"expression": args.expression, "return": args.returns}
    given = [args.object, args.old_object, args.params, args.namespace_object, args.request]
    if given.count("-") > 1:
        raise UserError("cel eval: standard input (-) can be read for one flag only")
    for name, file in zip(_DECLARABLE, given, strict=True):
        if file is not None:
            request[name] = document(file)
    # For one expression at the prompt the usual variables are declared, and null where no file says more.
    for name in ("object", "oldObject", "namespaceObject", "request"):
        request.setdefault(name, None)
    if prompt:
        from webhook.cli import cel_prompt
        from webhook.cli.cel_session import Session

        session = Session(request, version, read=document, evaluate=evaluated, show=show)
        return cel_prompt.run(session, version)
    if args.python:
        return _python(request, version)
    answer = evaluated(request, version)
    if args.output == "json":
        print(json.dumps(answer, ensure_ascii=False))
    else:
        show(answer, args.expression)
    return _code(answer)


def document(file: str) -> Any:
    """The one document of a YAML or JSON file."""
    name = "standard input" if file == "-" else file
    data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    if data.lstrip().startswith(b"{"):
        try:
            return _json(data)
        except ValueError as error:
            raise UserError(f"{name}: not JSON: {error}") from None
    found = yamlfile.parse(data, name=name, marks=False)
    if found.problems:
        raise InvalidInput(found.problems)
    if len(found.documents) != 1:
        raise UserError(f"{name}: {len(found.documents)} documents, expected one: give one object a file")
    return found.documents[0].value


def _json(data: bytes) -> Any:
    """JSON as the API server reads it: an integer beyond 64 bits is a double, half a surrogate pair is U+FFFD.

    Raises `ValueError`.
    """
    try:
        text = data.decode("utf-8", "replace")
        value = json.loads(text, parse_int=_integer)
        return _mended(value) if _SURROGATE.search(text) else value
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_mended(each) for each in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(each) for key, each in value.items()}
    return value


def _integer(digits: str) -> int | float:
    if len(digits) <= 20:
        value = int(digits)
        if -(2**63) <= value < 2**63:
            return value
    return float(digits)


def _lines(source: BinaryIO, out: TextIO, version: Version) -> int:
    """Answers JSON Lines, in order, each as soon as its request is read."""
    code = cli.FINE
    for number, line in enumerate(source, 1):
        if not line.strip():
            continue
        try:
            request = _request(line)
        except ValueError as error:
            print(f"wouldblock: standard input:{number}: {error}", file=sys.stderr)
            code = cli.FAILED
            continue
        answer = evaluated(request, version)
        print(json.dumps(answer, ensure_ascii=False), file=out, flush=True)
        code = max(code, _code(answer))
    return code


def _request(line: bytes) -> dict[str, Any]:
    """One request. Raises `ValueError` with what is wrong."""
    request = _json(line)
    if not isinstance(request, dict):
        raise ValueError("expected a JSON object")  # noqa: TRY004 - one kind of exception for bad lines
    unknown = sorted(request.keys() - _FIELDS)
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}, expected one of {', '.join(sorted(_FIELDS))}")
    if request.get("expression").__class__ is not str:
        raise ValueError('"expression" is missing or no string')
    if request.get("return", "any") not in _RETURNS:
        raise ValueError(f'"return" must be one of {", ".join(_RETURNS)}')
    variables = request.get("variables", [])
    if not isinstance(variables, list) or not all(
        isinstance(each, dict) and isinstance(each.get("name"), str) and isinstance(each.get("expression"), str)
        for each in variables
    ):
        raise ValueError('"variables" must be a list of {"name", "expression"}')
    return request


def _compile(request: dict[str, Any], version: Version, *, metered: bool) -> Unit:
    returns = request.get("return", "any")
    return compile_unit(
        [Expression(path="expression", text=request["expression"], returns=returns, authorizer=returns != "string")],
        variables=[
            Variable(name=each["name"], path=f"variables[{at}].expression", text=each["expression"])
            for at, each in enumerate(request.get("variables", []))
        ],
        params="params" in request,
        undeclared=[name for name in _DECLARABLE if name not in request],
        metered=metered,
        version=version,
    )


def evaluated(request: dict[str, Any], version: Version) -> dict[str, Any]:
    answer: dict[str, Any] = {"id": request["id"]} if "id" in request else {}
    try:
        unit = _compile(request, version, metered=True)
    except CompileErrors as failed:
        answer["compile_errors"] = [_text(error) for error in failed.errors]
        return answer | {"cost": None}
    inputs = Inputs(
        object=request.get("object"),
        old_object=request.get("oldObject"),
        params=request.get("params"),
        namespace_object=request.get("namespaceObject"),
        request=request.get("request"),
    )
    cost: int | None = None
    try:
        value, cost = unit.start(inputs).measure(0)
    except (NotComparable, NeedsState) as error:
        answer["error"] = str(error)
    else:
        if isinstance(value, EvalError):
            answer["error"] = value.text
        else:
            answer["value"] = encode(value)
    return answer | {"cost": cost}


def _text(error: CompileError) -> str:
    where = f"{error.line}:{error.column}: " if error.line else ""
    path = "" if error.path == "expression" else f"{error.path}: "
    return f"{path}{where}{error.message}" + (f": {error.hint}" if error.hint else "")


def _code(answer: dict[str, Any]) -> int:
    if "compile_errors" in answer:
        return cli.FAILED
    return cli.FOUND if "error" in answer else cli.FINE


def _python(request: dict[str, Any], version: Version) -> int:
    try:
        unit = _compile(request, version, metered=False)
    except CompileErrors as failed:
        _print_errors([_text(error) for error in failed.errors], request["expression"])
        return cli.FAILED
    print(unit.source, end="")
    return cli.FINE


def show(answer: dict[str, Any], expression: str) -> None:
    """For people: the value as CEL would write it, or the error; messages with a caret."""
    if "value" in answer:
        print(plain(answer["value"]))
    elif "error" in answer:
        print(f"error: {answer['error']}", file=sys.stderr)
    else:
        _print_errors(answer["compile_errors"], expression)


def _print_errors(errors: Iterable[str], expression: str) -> None:
    for line in _carets(errors, expression.split("\n")):
        print(line, file=sys.stderr)


def _carets(errors: Iterable[str], lines: list[str]) -> Iterator[str]:
    for error in errors:
        line, _, rest = error.partition(":")
        column, _, message = rest.partition(":")
        if not (line.isdigit() and column.isdigit()):
            yield f"error: {error}"
            continue
        yield f"error: {line}:{column}:{message}"
        yield f"  | {lines[int(line) - 1]}"
        yield f"  | {'.' * (int(column) - 1)}^"
