"""Our own subjects and gates: what they compare, and that each gate turns red when it must."""

from __future__ import annotations

import ast
import inspect
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import exchange, gate, host, instructions, measure, policies, speed, subjects, table
from benchmarks.__main__ import _held
from benchmarks.measure import Row, Run
from benchmarks.subjects import cel_violated
from webhook import review
from webhook.bench import corpus
from webhook.bench.gate import Window
from webhook.evaluate import evaluate
from webhook.load import load


def window(p99: float = 2.0, *, void: bool = False) -> Window:
    return Window(
        requests=1000, p50_ms=0.5, p90_ms=1.0, p99_ms=p99, p999_ms=p99 * 2, max_ms=p99 * 3, mean_ms=0.6,
        answered_per_second=2000.0, failures={}, denied=0, lag_p99_ms=0.01, driver_waited=0.0, target_waited=0.0,
        stolen=0.0, target_cpu_ms=0.25, target_rss_mb=50.0, void=["busy"] if void else [],
    )  # fmt: skip


# ── subjects ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [*subjects.NAMES, subjects.MANY, *subjects.SABOTAGED])
def test_a_subject_has_three_names_and_a_docstring(name: str) -> None:
    module: Any = subjects.load(name)
    made: set[str] = set()
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.Assign):
            made |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    assert {one for one in made if not one.startswith("_")} == {"label", "app", "command"}
    assert module.__doc__


@pytest.mark.parametrize("name", [*subjects.NAMES, "extra_loop"])
def test_a_subject_admits_the_reference_review_and_evaluates_it_wholly(name: str) -> None:
    answered = exchange.Exchange(subjects.load(name))
    first = answered()
    exchange.check(first)
    assert answered() == first


def test_the_exchange_refuses_a_figure_for_a_wrong_answer() -> None:
    good = exchange.Exchange(subjects.load("empty"))()
    for bad in (
        good.replace(b"200 OK", b"503 Busy"),
        good.replace(b'"allowed":true', b'"allowed":false'),
        good.replace(exchange.UID.encode(), b"x"),
        good.replace(b'"allowed":true', b'"allowed":true,"auditAnnotations":{"incomplete":"deadline"}'),
    ):
        with pytest.raises(RuntimeError):
            exchange.check(bad)


def test_a_subject_that_waits_has_no_exchange() -> None:
    with pytest.raises(RuntimeError, match="not an answer that admits"):
        exchange.check(exchange.Exchange(subjects.load("sleepy"))())


def test_a_hundred_foundare_a_hundred_that_load(tmp_path: Path) -> None:
    policies.write(tmp_path / "a", 100)
    policies.write(tmp_path / "b", 100)
    files = sorted((tmp_path / "a").iterdir())
    assert [one.read_bytes() for one in files] == [one.read_bytes() for one in sorted((tmp_path / "b").iterdir())]
    made = load([tmp_path / "a"], pod_security=None)
    assert (len(made.policies), made.broken) == (100, ())
    assert len({one.read_text().partition("validations:")[2] for one in files}) == 100


@pytest.mark.parametrize(("tidy", "violated"), [(False, 43), (True, 41)])
def test_as_many_are_violated_as_the_subject_says(tidy: bool, violated: int) -> None:
    found = load([host.generated(100, strict=cel_violated._STRICT)], pod_security=None)
    request = review.decode(corpus.reference(tidy=tidy).body.filled(exchange.UID)).request
    outcome = evaluate(found, request, clock=lambda: 0.0)
    assert outcome.evaluated.bit_count() == 100
    assert len({each.policy for each in outcome.findings}) == violated


# ── instructions ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("now", "red"), [(100_000, False), (100_999, False), (99_001, False), (101_001, True), (98_999, True)]
)
def test_one_percent_either_way(now: int, red: bool) -> None:
    problems = instructions.compare({"codec": now}, {"codec": 100_000})
    assert bool(problems) is red
    assert all("--update" in problem for problem in problems)


def test_a_subject_without_a_baseline_is_red() -> None:
    (problem,) = instructions.compare({"new": 1}, {"codec": 1})
    assert problem.startswith("new: no baseline; record it with: ")


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    made = {"empty": 200_000, "codec": 400_000}
    monkeypatch.setattr(instructions, "count", lambda names: {name: made[name] for name in names})
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return made


def test_recorded_on_purpose_then_held_to(
    counts: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, names = tmp_path / "baseline.json", ("empty", "codec")
    assert instructions.gate(names, path=file) == 0
    said = capsys.readouterr().out
    assert "NO BASELINE" in said
    assert "200,000" in said
    assert instructions.RECORD in said
    assert not file.exists()

    assert instructions.gate(names, update=True, path=file) == 0
    assert instructions.gate(names, path=file) == 0

    counts["codec"] += 5_000
    recorded = file.read_bytes()
    assert instructions.gate(names, path=file) == 1
    assert "FAILED codec: 405,000 instructions a review, baseline 400,000: +1.25%" in capsys.readouterr().out
    assert file.read_bytes() == recorded, "a gate never changes what it holds against"


def test_an_update_of_one_subject_keeps_the_others_and_other_environments(
    counts: dict[str, int], tmp_path: Path
) -> None:
    file = tmp_path / "baseline.json"
    instructions.write({"another": {"empty": 1}, instructions.environment(): {"codec": 7, "cel": 8}}, file)
    instructions.gate(("codec",), update=True, path=file)
    assert instructions.read(file) == {
        "another": {"empty": 1},
        instructions.environment(): {"codec": 400_000, "cel": 8},
    }


def test_without_valgrind_nothing_is_claimed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert instructions.gate(("empty",)) == 2
    assert "apt-get install valgrind" in capsys.readouterr().err


def test_the_baseline_names_every_subject_of_its_environments() -> None:
    for key, rows in instructions.read().items():
        assert set(rows) == set(subjects.NAMES), key


# ── latency ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("run", "code", "says"),
    [
        (Run(0, [window(2), window(12)]), 0, "fine: p99 2.00 ms"),
        (Run(1, [window(12), window(11)]), 1, "FAILED latency: p99 11.00 ms is not below 10ms"),
        (Run(3, [window(12, void=True)]), 3, "NO VERDICT ON LATENCY"),
    ],
)
def test_what_a_run_comes_to(run: Run, code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.verdict(run) == code
    assert says in capsys.readouterr().out


def test_a_slow_machine_fails_nothing_and_passes_what_it_can(capsys: pytest.CaptureFixture[str]) -> None:
    slow = speed.ENOUGH - 0.01
    assert gate.verdict(Run(1, [window(12)]), slow) == 3
    assert "of the reference's speed" in capsys.readouterr().out
    assert gate.verdict(Run(1, [window(12)]), speed.ENOUGH) == 1
    assert gate.verdict(Run(0, [window(2)]), slow) == 0
    idle = msgspec.structs.replace(window(12), target_cpu_ms=0.2, answered_per_second=200.0)
    assert gate.verdict(Run(1, [idle]), slow) == 1, "what only waits is slow on any machine"
    assert 0.01 < speed.share() < 100


def test_a_busy_machine_is_loud_and_not_red() -> None:
    assert [_held(code) for code in (0, 1, 3)] == [0, 1, 0]


def test_a_window_that_counts_goes_before_a_faster_void_one() -> None:
    assert Run(0, [window(1, void=True), window(3)]).best().p99_ms == 3
    assert Run(3, [window(4, void=True), window(2, void=True)]).best().p99_ms == 2


@pytest.mark.parametrize("truth", [60, 700, 2_100, 3_999, 9_000])
def test_the_highest_rate_is_found_to_five_percent(truth: int) -> None:
    rate, drivers = measure.highest(lambda rate: rate <= truth)
    assert truth * 0.94 <= rate <= truth
    assert not drivers


def test_a_rate_that_the_driver_could_not_reach_is_said() -> None:
    assert measure.highest(lambda rate: True) == (measure.RATE_MAX, True)
    rate, drivers = measure.highest(lambda rate: True if rate <= 5_000 else None)
    assert 4_700 <= rate <= 5_000
    assert drivers


def test_nothing_is_fast_enough() -> None:
    assert measure.highest(lambda rate: False) == (0, False)


# ── the table ───────────────────────────────────────────────────────────────────────────────────────────────────


def row(label: str, *, void: bool = False) -> Row:
    return Row(
        label=label, mix=window(void=void), reference=window(), tidy=window(), loads=[window(), window()],
        highest_rate=4321, highest_is_the_drivers=False, rss_loaded=40.0, rss=55.0, startup=0.31,
    )  # fmt: skip


def test_every_row_is_written_and_noise_is_marked() -> None:
    text = table.render([row("floor"), row("busy", void=True)])
    assert "| floor | 0.50 ms | 2.00 ms | 4.00 ms | 4,321/s | 0.250 ms | 55 MB | 0.31 s |" in text
    assert "| floor | 0.250 ms | 0.250 ms | 0.250 ms | 0.50 ms | 1.0 | 0.250 ms | 0.50 ms | 1.0 |" in text
    assert r"| busy | 0.50 ms\* | 2.00 ms\* | 4.00 ms\* |" in text
    assert r"\* The machine was busy" in text
    assert "The machine was busy" not in table.render([row("floor")])


def test_written_between_the_markers_only(tmp_path: Path) -> None:
    begin, end = table.markers("table")
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    table.insert("new\n", "table", readme)
    assert readme.read_text() == f"before\n{begin}\nnew\n{end}\nafter\n"
    with pytest.raises(ValueError, match=r"expected the lines .*begin \(python -m benchmarks apiserver\)"):
        table.insert("new\n", "apiserver", readme)
    assert readme.read_text() == f"before\n{begin}\nnew\n{end}\nafter\n"


def test_what_a_writer_feels() -> None:
    from benchmarks import apiserver

    fast = apiserver.Latency.of([0.004] * 98 + [0.006, 0.008])
    assert (fast.count, fast.p50, fast.p90) == (100, 4.0, 4.0)
    assert fast.p99 == pytest.approx(6.0, rel=0.001)
    both = {"with-webhook": fast, "without-webhook": apiserver.Latency.of([0.003] * 10)}
    text = apiserver.render(
        apiserver.Seen(alone=both, burst=both, calls=110, mean_ms=0.7, below_5_ms=0.995, failed_open=0)
    )
    assert "| one writer, 10 writes | without the webhook | 3.0 ms | 3.0 ms | 3.0 ms |" in text
    assert "| 50 writers at once, 100 writes | with it | 4.0 ms | 4.0 ms |" in text
    assert "110 calls, mean 0.7 ms, 99.5% within 5 ms, 0 failed open" in text


# ── both gates, seen red ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.bench
def test_a_sleep_of_12_ms_turns_the_latency_gate_red() -> None:
    code = gate.latency("sleepy", rate=200, seconds=2.0)
    if code == gate.VOID:
        pytest.skip("the machine was too busy for any verdict: the latency gate was NOT seen red")
    assert code == 1


@pytest.mark.bench
def test_one_extra_loop_turns_the_instruction_gate_red() -> None:
    first = instructions.count(("pod_security", "extra_loop"))
    assert instructions.compare({"pod_security": first["extra_loop"]}, first)
    again = instructions.count(("pod_security",))
    assert not instructions.compare(again, first), "and nothing else does"


def test_the_dearest_policy_stands_first_after_the_whole_set() -> None:
    from benchmarks.cost import Cost, render

    rows = sorted([Cost(1.0, 2.0, 1.5, "cheap"), Cost(9.0, 8.0, 7.0, "dear")], reverse=True)
    assert [one.policy for one in rows] == ["dear", "cheap"]
    assert render(rows).splitlines()[1].split() == ["9.0", "8.0", "7.0", "dear"]
