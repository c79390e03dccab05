"""Fixtures of the CEL tests: evaluate an expression, and run files of conformance vectors.

The vectors' expectations are the API server's engine's own (their README says how they were made).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from webhook.cel.tagged import encode
from webhook.cel.types import DYN, NULL, Type, parse_type
from webhook.cel.unit import (
    CompileErrors,
    EvalError,
    Expression,
    Inputs,
    Returns,
    Unit,
    Variable,
    compile_unit,
)
from webhook.cel.values import Duration, Timestamp, TypeValue, Uint, make_map

PASS, REFUSED, WRONG = "pass", "refused", "wrong"
"""`refused`: not supported yet, and said so at compile time."""

REQUEST: dict[str, Any] = {
    "operation": "CREATE",
    "userInfo": {"username": "alice", "groups": ["dev", "system:authenticated"]},
    "dryRun": False,
}


def rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        yield json.loads(line)


def go_json(text: str) -> Any:
    """JSON as Kubernetes' decoder reads it: integers beyond int64 become doubles."""

    def integer(digits: str) -> int | float:
        value = int(digits)
        return value if -(2**63) <= value < 2**63 else float(digits)

    return json.loads(text, parse_int=integer)


def decode(tagged: Mapping[str, Any]) -> Any:
    ((tag, value),) = tagged.items()
    match tag:
        case "int":
            return int(value)
        case "uint":
            return Uint(value)
        case "double":
            return float(value)
        case "bytes":
            return bytes.fromhex(value)
        case "list":
            return [decode(element) for element in value]
        case "map":
            return make_map((decode(key), decode(element)) for key, element in value)
        case "type":
            return TypeValue(value)
        case "timestamp" | "duration":
            ns = int(value["seconds"]) * 10**9 + value["nanos"]
            return Timestamp(ns) if tag == "timestamp" else Duration(ns)
        case _:
            return value


def canonical(tagged: Any) -> Any:
    """A tagged value in a form that compares as CEL would: maps without order, doubles as numbers."""
    if not isinstance(tagged, dict):
        return tagged
    ((tag, value),) = tagged.items()
    match tag:
        case "double":
            number = float(value)
            return ("double", "NaN" if math.isnan(number) else number)
        case "list":
            return ("list", [canonical(element) for element in value])
        case "map":
            return ("map", sorted((repr(canonical(key)), repr(canonical(element))) for key, element in value))
        case "optional":
            return ("optional", None if value is None else canonical(value))
        case "timestamp" | "duration":
            return (tag, int(value["seconds"]), value["nanos"])
    return (tag, value)


class Case:
    """One evaluation: what is declared and bound, and what came out."""

    def __init__(self, text: str, **inputs: Any) -> None:
        self.text = text
        self.returns: Returns = inputs.pop("returns", "any")
        self.declared: dict[str, Type] = inputs.pop("declared", {})
        self.variables: list[dict[str, str]] = inputs.pop("variables", [])
        self.params_declared: bool = inputs.pop("params_declared", False)
        self.authorizer: bool = inputs.pop("authorizer", True)
        self.inputs = Inputs(**inputs)

    def compile(self, *, metered: bool = False) -> Unit | list[str]:
        """The unit, or compile errors as the vectors write them."""
        try:
            return compile_unit(
                [Expression(path="expression", text=self.text, returns=self.returns, authorizer=self.authorizer)],
                variables=[
                    Variable(name=variable["name"], path=variable["name"], text=variable["expression"])
                    for variable in self.variables
                ],
                params=self.params_declared,
                declared=self.declared,
                metered=metered,
            )
        except CompileErrors as failed:
            return [
                f"{error.line}:{error.column}: {error.message}" if error.line else error.message
                for error in failed.errors
            ]

    def run(self) -> dict[str, Any]:
        """`{"value"}`, `{"error"}` or `{"compile_errors"}`, as the vectors write them."""
        unit = self.compile()
        if isinstance(unit, list):
            return {"compile_errors": unit}
        value = unit.start(self.inputs).value(0)
        if isinstance(value, EvalError):
            return {"error": value.text}
        return {"value": encode(value)}


def judge(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """`expected` has one of `value`, `error`, `compile_errors`; error texts are compared exactly but for internal
    errors of the server, whose prefix counts."""
    if any("not supported yet" in message for message in found.get("compile_errors", ())):
        return REFUSED
    if "value" in expected:
        same = "value" in found and canonical(found["value"]) == canonical(expected["value"])
        return PASS if same else WRONG
    if "error" in expected:
        wanted, got = expected["error"], found.get("error")
        if got is not None and wanted.startswith("internal error: "):
            return PASS
        return PASS if got == wanted else WRONG
    return PASS if found.get("compile_errors") == expected["compile_errors"] else WRONG


def types_of(environment: list[dict[str, Any]]) -> dict[str, Type] | None:
    """The declared variables of a specification vector; `None` when it declares what we do not model."""
    found: dict[str, Type] = {}
    for declaration in environment:
        text = declaration.get("type")
        if text is None or "wrapper" in text or "<" in text:
            return None
        name = declaration["name"]
        found[name] = (
            DYN if text in ("any", "dyn") or "google" in text else NULL if text == "null_type" else parse_type(text)
        )
    return found


def differential(row: dict[str, Any], objects: Mapping[str, Any]) -> Case:
    """A row of `differential.jsonl`."""
    returns = row.get("return", "any")
    request = dict(REQUEST)
    bound: dict[str, Any] = {"object": objects[row["obj"]]}
    if row.get("delete"):
        bound = {"object": None, "old_object": objects[row["obj"]]}
        request["operation"] = "DELETE"
    elif "old" in row:
        bound["old_object"] = objects[row["old"]]
        request["operation"] = "UPDATE"
    kind = request["operation"].capitalize() + "Options"
    request["options"] = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
    described = bound["object"] or bound["old_object"]
    group, _, version = described["apiVersion"].rpartition("/")
    request["kind"] = request["requestKind"] = {"group": group, "version": version, "kind": described["kind"]}
    request["resource"] = request["requestResource"] = {
        "group": group,
        "version": version,
        "resource": plural(described["kind"]),
    }
    metadata = described["metadata"]
    request |= {key: metadata[key] for key in ("name", "namespace") if metadata.get(key)}
    if "params" in row:
        bound["params"] = None if row["params"] == "none" else objects[row["params"]]
    if "ns" in row:
        bound["namespace_object"] = reduced(objects[row["ns"]])
    return Case(
        row["expr"],
        returns=returns,
        variables=row.get("vars", []),
        params_declared="params" in row,
        authorizer=returns != "string",
        request=request,
        **bound,
    )


def plural(kind: str) -> str:
    lower = kind.lower()
    if lower.endswith("y"):
        return lower[:-1] + "ies"
    return lower + ("es" if lower.endswith(("s", "ch")) else "s")


def reduced(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The server's `namespaceObject`: no type, and only the fields that it declares."""
    kept = ("name", "generateName", "namespace", "labels", "annotations", "uid", "creationTimestamp")
    metadata = {key: value for key, value in namespace["metadata"].items() if key in kept and value}
    return {"metadata": metadata, "spec": namespace.get("spec", {}), "status": namespace.get("status", {})}


Row = tuple[str, Case, dict[str, Any], dict[str, Any]]
"""A vector's id, what to evaluate, what is expected, and the row itself."""


def differential_rows(folder: Path) -> Iterator[Row]:
    objects: dict[str, Any] = {}
    for line in (folder / "k8s-cel" / "differential-objects.jsonl").read_text().splitlines():
        held = go_json(line)
        objects[held["id"]] = held["object"]
    for row in rows(folder / "k8s-cel" / "differential.jsonl"):
        yield str(row["id"]), differential(row, objects), expectation(row), row


def specification_rows(folder: Path) -> Iterator[Row]:
    """What the server could meet: checked, no container, macros on, functions that it has."""
    for row in rows(folder / "cel-spec" / "vectors.jsonl"):
        stored = row.get("k8s", {})
        skipped = row.get("disable_check") or row.get("disable_macros") or row.get("container") or row.get("check_only")
        declared = types_of(row.get("type_env", []))
        if skipped or stored.get("supported") is False or declared is None:
            continue
        bound = {name: decode(value) for name, value in row.get("bindings", {}).items()}
        case = Case(row["expr"], declared=declared, bound=bound)
        yield f"{row['file']}/{row['section']}/{row['name']}", case, expectation(row), row


def plain_rows(file: str) -> Callable[[Path], Iterator[Row]]:
    def read(folder: Path) -> Iterator[Row]:
        for number, row in enumerate(rows(folder / "k8s-cel" / file), 1):
            if row.get("parse_only") or row.get("k8s", {}).get("supported") is False:
                continue
            authorizer = row.get("authorizer", False) if file == "compile.jsonl" else file != "rules.jsonl"
            case = Case(row["expr"], authorizer=authorizer, params_declared=row.get("params", False))
            yield str(number), case, expectation(row), row

    return read


def expectation(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the engine gives: `k8s` overrides what the source of the vector says."""
    for holder in (row.get("k8s", {}), row):
        found = {key: holder[key] for key in ("value", "error", "compile_errors") if key in holder}
        if found:
            if "value" in found and not isinstance(found["value"], dict):
                found["value"] = {"bool": found["value"]}
            return found
    return {}


class Report(NamedTuple):
    passed: int
    refused: list[str]
    """Ids of rows that use what is not supported yet."""
    wrong: dict[str, str]
    """What went wrong, by id."""


FILES: dict[str, Callable[[Path], Iterator[Row]]] = {
    "differential": differential_rows,
    "specification": specification_rows,
    **{
        file.removesuffix(".jsonl"): plain_rows(file)
        for file in ("library.jsonl", "rules.jsonl", "cel-go-ext.jsonl", "format-v1.jsonl", "compile.jsonl")
    },
}


def run_file(name: str, folder: Path) -> Report:
    passed, refused = 0, []
    wrong: dict[str, str] = {}
    for id, case, expected, row in FILES[name](folder):
        if not expected:  # compiles, and is not evaluated
            errors = case.compile()
            verdict, found = (WRONG, errors) if isinstance(errors, list) else (PASS, [])
        else:
            answer = case.run()
            verdict, found = judge(answer, expected), [str(answer)]
        passed += verdict == PASS
        if verdict == REFUSED:
            refused.append(id)
        elif verdict == WRONG:
            wrong[id] = f"{row['expr']!r}: expected {expected}, found {found}"
    return Report(passed, refused, wrong)


def cost_rows(folder: Path) -> Iterator[Row]:
    """`cost.jsonl`: rows that evaluate, without those that need an authorizer."""
    data = go_json((folder / "k8s-cel" / "cost-data.json").read_text())
    for number, row in enumerate(rows(folder / "k8s-cel" / "cost.jsonl"), 1):
        if row.get("k8s_cost") is not None and "needs" not in row:
            case = Case(row["expr"], object=data if row.get("data") else None)
            yield str(number), case, expectation({"error": row["error"]} if "error" in row else {}), row


def run_costs(name: str, folder: Path) -> Report:
    """As `run_file`, by the metered form: a row passes if cost and result are the engine's."""
    passed = 0
    wrong: dict[str, str] = {}
    for id, case, expected, row in (cost_rows if name == "cost" else FILES[name])(folder):
        wanted = row.get("k8s_cost", row.get("cost"))
        unit = case.compile(metered=True) if wanted is not None else []
        if isinstance(unit, list):
            continue
        value, cost = unit.start(case.inputs).measure(0)
        answer = {"error": value.text} if isinstance(value, EvalError) else {"value": encode(value)}
        if (not expected or judge(answer, expected) == PASS) and cost == wanted:
            passed += 1
        else:
            wrong[id] = f"{row['expr']!r}: expected {expected} for {wanted}, found {answer} for {cost}"
    return Report(passed, [], wrong)


@pytest.fixture(scope="session")
def measure_vectors(corpora: Path) -> Callable[[str], Report]:
    """Runs one file of vectors by the metered form."""
    return lambda name: run_costs(name, corpora)


@pytest.fixture(scope="session")
def run_vectors(corpora: Path) -> Callable[[str], Report]:
    """Runs one file of vectors, by its name in `FILES`."""
    return lambda name: run_file(name, corpora)


Evaluate = Callable[..., Any]


@pytest.fixture(scope="session")
def evaluate() -> Evaluate:
    """`evaluate(text, object=…)` gives the value, an `EvalError`, or the list of compile errors `LINE:COL: message`."""

    def run(text: str, **inputs: Any) -> Any:
        case = Case(text, **inputs)
        unit = case.compile()
        return unit if isinstance(unit, list) else unit.start(case.inputs).value(0)

    return run
