"""The derived parts of the README are what the code says. `make docs` writes them anew."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from pathlib import Path

import pytest

from webhook.audit.table.schema import COLUMNS
from webhook.cli import VERBS, main
from webhook.settings import rows

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
        ((f"`{row.flag}`", f"`{row.environment}`", row.default, row.text.replace("|", "\\|")) for row in rows()),
    )


def facts() -> str:
    return _table(("column", "type", "what"), ((f"`{each.name}`", each.kind, each.doc) for each in COLUMNS))


BLOCKS = {"verbs": verbs, "policies": policies, "settings": settings, "facts": facts}


def _table(head: tuple[str, ...], cells: object) -> str:
    lines = [head, ("---",) * len(head), *cells]  # type: ignore[misc]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_readme_is_fresh(root: Path, block: str) -> None:
    readme = root / "README.md"
    text = readme.read_text()
    pattern = re.compile(rf"(<!-- {block}: begin \(make docs\) -->\n)(.*?)(<!-- {block}: end -->)", re.DOTALL)
    found = pattern.search(text)
    assert found, f"README.md has no block {block!r}"
    wanted = BLOCKS[block]()
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
