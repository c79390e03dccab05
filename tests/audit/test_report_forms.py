"""The forms of a report: what they hold, and that no name in it acts on what reads them."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.audit import estate
from webhook.audit.report import export, text
from webhook.audit.report.figures import Report
from webhook.audit.report.page import document, markup, render, tables
from webhook.audit.report.page.tables import DETAILS, Detail, short_names
from webhook.audit.report.text import Column, cell_width, fitted
from webhook.cli import main


@pytest.fixture(scope="module")
def report() -> Report:
    return estate.report(workloads=200, teams=20)


@pytest.fixture(scope="module")
def hostile() -> Report:
    return estate.hostile_report()


def as_csv(report: Report) -> str:
    written = io.StringIO(newline="")
    export.write_csv(report, written)
    return written.getvalue()


def test_csv_and_parquet_have_a_row_for_each_finding(report: Report) -> None:
    """The same rows, those that are settled among them."""
    rows = list(csv.DictReader(io.StringIO(as_csv(report))))
    table = pq.read_table(io.BytesIO(export.as_parquet(report))).to_pylist()
    assert len(rows) == len(table) == sum(len(each.found) for each in report.workloads)
    assert list(rows[0]) == list(table[0]) == list(export.COLUMNS)
    names = ("namespace", "kind", "name", "team", "policy", "severity", "status")
    assert [tuple(row[name] for name in names) for row in rows] == [tuple(row[name] for name in names) for row in table]
    blocked = {(row["namespace"], row["kind"], row["name"]) for row in rows if row["status"] in ("open", "unproven")}
    assert len(blocked) == report.totals.workloads


def test_json_holds_all_figures(report: Report) -> None:
    """Shares beside every coverage; the sums are those of the report."""
    shown = json.loads("".join(export.as_json(report)))
    assert shown["schema"] == "wouldblock.dev/report/v1"
    assert shown["totals"]["workloads"] == report.totals.workloads
    assert shown["coverage"]["share"] == report.coverage.share
    assert all("share" in each["coverage"] for each in shown["teams"] + shown["namespaces"] + shown["policies"])
    assert sum(each["workloads"] for each in shown["teams"]) == report.totals.workloads


def test_a_page_that_cannot_be_small_is_made_once(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """The details that are passed over would not have fitted."""
    made: list[Detail] = []

    def page(_report: Report, detail: Detail, _title: str, _generated: str) -> str:
        made.append(detail)
        return "x" * (document.BUDGET + 1)

    monkeypatch.setattr(document, "_page", page)
    render(report)
    assert made == list(DETAILS)
    made.clear()
    monkeypatch.setattr(document, "BUDGET", report.totals.workloads * 60)
    render(report)
    assert made == [DETAILS[-1]]
    monkeypatch.undo()
    least = min(len(tables._workload(each, DETAILS[1], {})) for each in report.workloads if each.policies)
    assert least > document._ROW


def test_terminal_lines_fit(report: Report) -> None:
    """Whatever the width; the headline first, coverage with it, and what is left out is said."""
    for width in (80, 100, 140):
        lines = list(text.lines(report, width=width, top=5))
        assert max(map(cell_width, lines)) <= width
        assert " ".join(lines[:3]).startswith(f"{report.totals.workloads} workloads of")
        assert any("more teams" in line for line in lines)
    everything = "\n".join(text.lines(report, width=200, top=0))
    assert all(each.name in everything for each in report.workloads if each.policies)


def test_hostile_names_move_no_terminal(hostile: Report) -> None:
    """Every line is printable: no control characters, no bidirectional or zero-width ones."""
    for line in text.lines(hostile, width=120, top=0):
        assert line.isprintable(), repr(line)
    assert "".join(export.as_json(hostile)).isascii()


def test_hostile_names_are_no_formulas(hostile: Report) -> None:
    """No cell of the CSV begins as a formula does, and none breaks out of its cell."""
    rows = list(csv.reader(io.StringIO(as_csv(hostile))))
    assert {len(row) for row in rows} == {len(export.COLUMNS)}
    for cell in (cell for row in rows for cell in row):
        assert not cell.lstrip(" '\"").startswith(("=", "+", "-", "@")) or cell.startswith("'")
        assert cell.isprintable()


@given(st.text())
def test_no_text_is_a_formula(value: str) -> None:
    """Whatever it is."""
    shown = export.harmless(value)
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert shown.isprintable()


def test_hostile_names_are_no_markdown(hostile: Report) -> None:
    """Names stand in code spans; each row of a table has as many cells as its head."""
    shown = export.as_markdown(hostile, top=0)
    cells = 0
    for line in shown.splitlines():
        assert line.isprintable()
        if not line.startswith("|"):
            cells = 0
            continue
        number = len(re.findall(r"(?<!\\)\|", line))
        cells = cells or number
        assert number == cells, line
    bare = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", shown)
    assert "<script" not in bare
    assert "](http" not in bare
    assert "**bold**" not in bare


def test_hostile_names_are_no_markup(hostile: Report) -> None:
    """What a parser sees: no elements but ours, no handlers, no addresses."""
    page = render(hostile, title=estate.hostile()[0], generated=estate.hostile()[1])
    assert page.count("<script") == 1
    assert not re.search(r"<(?:img|iframe|object|embed|base|link|form)\b", page)
    assert not re.search(r"<[^>]*\son[a-z]+=", page)
    assert all(each.isprintable() or each == "\n" for each in page)


@given(st.text())
def test_escaping_leaves_no_markup(value: str) -> None:
    """In content and in quoted attributes."""
    shown = markup.tag("p", value, title=value)
    inside = shown[len("<p ") : -len("</p>")]
    assert inside.count("<") == 0
    assert inside.count('"') == 2
    assert shown.isprintable()


def test_own_markup_is_not_escaped_twice() -> None:
    """`Html` goes in as it is, text does not."""
    assert markup.tag("p", [markup.tag("b", "a<b"), " & "]) == "<p><b>a&lt;b</b> &amp; </p>"


def test_short_names_are_told_apart() -> None:
    """By a number where initials are the same."""
    ids = ("image-tag-mutable", "ingress-tls-missing", "a", "A", "", "-", "x.example.dev")
    codes = short_names(ids)
    assert len(set(codes.values())) == len(ids)
    assert codes["image-tag-mutable"] == "itm"
    assert codes["ingress-tls-missing"] == "itm2"


def test_columns_give_way_but_numbers_do_not() -> None:
    """The widest text is cut, wide characters count twice, and no line is longer than it may be."""
    columns = [Column("NAME"), Column("N", right=True), Column("TEXT")]
    lines = list(fitted(columns, [("a" * 60, "1,234,567", "世界" * 20)], 60))
    assert all(cell_width(line) <= 60 for line in lines)
    assert "1,234,567" in lines[1]
    assert "…" in lines[1]


def test_the_page_is_the_same_each_time(report: Report) -> None:
    """No clock, no chance."""
    assert render(report) == render(report)


def test_the_command_on_a_real_log(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A log of a real API server: found, so exit code 1; each form says the same number; the page is written."""
    log, page = str(raw / "kube-1.37.jsonl"), tmp_path / "report.html"
    assert main(["report", log, "--output", "json", "--html", str(page)]) == 1
    heard = capsys.readouterr()
    shown = json.loads(heard.out)
    number = shown["totals"]["workloads"]
    assert number > 0
    assert f"{number} workloads would be blocked" in heard.err
    assert f"{number} workloads would be blocked" in page.read_text()
    assert main(["report", log, "--output", "csv"]) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    blocked = {(row["namespace"], row["kind"], row["name"]) for row in rows if row["status"] in ("open", "unproven")}
    assert len(blocked) == number
    assert main(["report", log, "--namespace", "nowhere"]) == 0


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "give audit logs or --facts DIR"),
        (["/nowhere/at/all.log"], "/nowhere/at/all.log"),
        (["{log}", "--new-since", "soon"], "--new-since 'soon' is no time"),
        (["{log}", "--owners", "{bad}"], "owners.yaml:1:1: expected a mapping with a list `owners`"),
    ],
)
def test_what_the_command_cannot_do_it_says(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], says: str
) -> None:
    """What, where, and no traceback."""
    bad = tmp_path / "owners.yaml"
    bad.write_text("[]\n")
    given_ = [each.format(log=raw / "kube-1.37.jsonl", bad=bad) for each in flags]
    assert main(["report", *given_]) == 2
    assert says in capsys.readouterr().err
