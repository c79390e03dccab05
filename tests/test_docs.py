"""The derived parts of the README are what the code says. `make docs` writes them anew."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from pathlib import Path

import pytest

from tests.cel import test_vectors
from tests.cel.conftest import rows, run_costs, run_file
from webhook.audit.table.schema import COLUMNS
from webhook.cli import VERBS, main
from webhook.settings import rows as setting_rows

REPAIR = "run: make docs"


def verbs() -> str:
    return _table(("verb", "does"), ((f"`{verb}`", summary) for verb, (_, summary) in VERBS.items()))


def policies() -> str:
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard):
        assert main(["policies", "list", "--output", "json"]) == 0
    listed = json.loads(heard.getvalue())
    return _table(
        ("policy", "severity", "what"),
        ((f"`{each['id']}`", each["meta"]["severity"], each["meta"]["title"]) for each in listed),
    )


def settings() -> str:
    return _table(
        ("flag", "environment", "default", "what"),
        (
            (f"`{row.flag}`", f"`{row.environment}`", row.default, row.text.replace("|", "\\|"))
            for row in setting_rows()
        ),
    )


def facts() -> str:
    return _table(("column", "type", "what"), ((f"`{each.name}`", each.kind, each.doc) for each in COLUMNS))


BLOCKS = {"verbs": verbs, "policies": policies, "settings": settings, "facts": facts}


def conformance(corpora: Path) -> str:
    """The engine's recorded answers beside ours, computed now."""
    paths = {name: corpora / "k8s-cel" / f"{name}.jsonl" for name in (*test_vectors.FLOORS, "cost")}
    paths["specification"] = corpora / "cel-spec" / "vectors.jsonl"
    cells = []
    for name, path in paths.items():
        is_cost = name == "cost"
        report = run_costs(name, corpora) if is_cost else run_file(name, corpora)
        total, compared = sum(1 for _ in rows(path)), report.passed + len(report.refused) + len(report.wrong)
        notes = [f"row {id}: not explained" for id in report.wrong]
        if report.refused:
            notes.append(f"{len(report.refused)} refused: not supported yet")
        if compared < total:
            notes.append(f"{total - compared} not compared: {NOT_COMPARED[name]}")
        file = f"{path.parent.name}/{path.name}"
        unequal = len(report.refused) + len(report.wrong)
        cells.append((f"`{file}`", *map(str, (total, report.passed, unequal)), "; ".join(notes)))
    return _table(("file", "rows", "equal", "not equal", "which, and why"), cells)


NOT_COMPARED = {
    "specification": "without checker or macros, in a container, or with types and functions that Kubernetes has not",
    "cel-go-ext": "only parsed, or of functions that Kubernetes has not",
    "compile": "of a function that Kubernetes has not",
    "cost": "not evaluated by the engine, or in need of an authorizer",
}


def _table(head: tuple[str, ...], cells: object) -> str:
    lines = [head, ("---",) * len(head), *cells]  # type: ignore[misc]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_readme_is_fresh(root: Path, block: str) -> None:
    _fresh(root / "README.md", block, BLOCKS[block]())


@pytest.mark.corpus
def test_the_table_of_conformance_is_fresh(root: Path, corpora: Path) -> None:
    _fresh(root / "README.md", "conformance", conformance(corpora))


def _fresh(readme: Path, block: str, wanted: str) -> None:
    text = readme.read_text()
    pattern = re.compile(rf"(<!-- {block}: begin \(make docs\) -->\n)(.*?)(<!-- {block}: end -->)", re.DOTALL)
    found = pattern.search(text)
    assert found, f"README.md has no block {block!r}"
    if os.environ.get("WOULDBLOCK_WRITE_DOCS"):
        readme.write_text(text[: found.start(2)] + wanted + text[found.end(2) :])
        return
    assert found[2] == wanted, REPAIR


def test_every_verb_teaches_with_an_example() -> None:
    for verb in VERBS:
        heard = io.StringIO()
        with contextlib.redirect_stdout(heard), pytest.raises(SystemExit) as ended:
            main([verb, "--help"])
        assert ended.value.code == 0
        assert re.search(r"examples?:\n  wouldblock ", heard.getvalue()), verb


@pytest.mark.parametrize(
    "arguments", [["--no-such-flag"], ["no-such-verb"], ["review", "--output", "xml"], ["bench"], []], ids=str
)
def test_wrong_flags_end_with_2_and_no_traceback(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
