"""Generated logs in every format: every figure is the planted one, however many processes read, and nothing leaks."""

from __future__ import annotations

import datetime
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import audit_log
from benchmarks.audit_envelopes import ENVELOPES
from benchmarks.audit_log import SECRET, Planted, write
from benchmarks.audit_set import SET
from webhook import cli
from webhook.annotations import WEBHOOK_NAME
from webhook.audit.fact import Ours
from webhook.audit.facts import Collector, Facts
from webhook.audit.reading import Interest
from webhook.audit.source import Lines, Progress, Unreadable, files, parallel, raw, read
from webhook.audit.source.reader import events_in
from webhook.audit.subject import interest_of, subjects_of

SIZE = 1_500_000
INTEREST = interest_of(subjects_of(SET))


def reading(
    file: Path, *, skip_reads: bool = True, interest: Interest = INTEREST, parts: list[parallel.Part] | None = None
) -> tuple[Facts, Unreadable]:
    facts, unreadable = Facts(), Unreadable()
    for part in parts or [parallel.Part(str(file))]:
        trouble = Unreadable()
        collector = Collector(interest=interest, is_ours=Ours((WEBHOOK_NAME,)), unreadable=trouble)
        wanted = interest.wants if skip_reads else None
        for found in parallel.read_part(part, trouble, skip_reads=skip_reads, wanted=wanted):
            collector.add(found)
        facts.merge(collector.facts)
        unreadable.merge(trouble)
    return facts, unreadable


def check(planted: Planted, facts: Facts, unreadable: Unreadable) -> None:
    # Leases are left out before they are parsed, but where the event is not written as the API server writes it.
    rows = [fact for _, fact in facts.rows() if fact.resource != "leases"]
    assert facts.counts["reads"] == planted.reads
    assert facts.counts["events"] + facts.counts["other_resources"] == planted.events + planted.leases
    assert len(rows) == planted.writes
    outcomes: Counter[str] = Counter()
    violations: Counter[str] = Counter()
    for fact in rows:
        violated = fact.review.violated if fact.review is not None else ()
        kind = "violating" if violated else "passed"
        if fact.rejected:
            kind = "refused"
        elif fact.dry_run:
            kind = "dry_run"
        elif fact.failed_open:
            kind = "failed_open"
        elif fact.review is None:
            kind = "not_sent"
        outcomes[kind] += 1
        if kind == "violating":
            violations.update(violated)
    assert outcomes == planted.outcomes
    assert violations == planted.violations
    # What ends with its file may be half-written; that is said of it, and it counts all the same.
    assert unreadable.counts["cut_event"] + unreadable.counts["incomplete_last_line"] == planted.cut == len(facts.cut)


@pytest.mark.parametrize("seed", range(24))
def test_what_is_only_sifted_counts_as_if_it_were_parsed(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a damaged log of many minutes, in blocks of any size: counts, minutes, facts and what is unreadable."""
    monkeypatch.setattr(audit_log, "STEP", datetime.timedelta(seconds=17))
    draw = random.Random(seed)  # noqa: S311
    pieces: list[bytes] = []
    for line in audit_log.Generator(seed, writes=0.2, leases=0.2, trouble=0.05).lines(60_000):
        damage = draw.random()
        if damage < 0.02:
            line = line[: draw.randrange(len(line))]
        elif damage < 0.04:
            line = draw.choice([line + b"}", b" " + line, line.replace(b'"verb":"', b'"verb" : "')])
        elif damage < 0.06:
            line = line.replace(b"/pods?", b"/pods/x/exec?").replace(b'"pods"', b'"pods","subresource":"exec"')
        pieces += [line, draw.choice([b"", b"\r\n", b"\n\n"]) if draw.random() < 0.01 else b"\n"]
    text = b"".join(pieces)[: -draw.randrange(300) or None]

    def parsed(size: int, *, skip_reads: bool) -> tuple[Facts, Unreadable]:
        unreadable = Unreadable()
        collector = Collector(interest=INTEREST, is_ours=Ours((WEBHOOK_NAME,)), unreadable=unreadable)
        blocks = (text[at : at + size] for at in range(0, len(text), size))
        wanted = INTEREST.wants if skip_reads else None
        for found in events_in("log", blocks, unreadable, skip_reads=skip_reads, wanted=wanted):
            collector.add(found)
        return collector.facts, unreadable

    sifted, trouble = parsed(draw.choice([300, 1_500, 5_000, 70_000]), skip_reads=True)
    expected, its_trouble = parsed(len(text), skip_reads=False)
    assert sifted.counts == expected.counts
    assert sifted.minutes == expected.minutes
    assert list(sifted.rows()) == list(expected.rows())
    assert sifted.cut_rows() == expected.cut_rows()
    assert (trouble.counts, trouble.places) == (its_trouble.counts, its_trouble.places)


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_every_figure_is_the_planted_one(tmp_path: Path, envelope: str) -> None:
    file = tmp_path / "log"
    # Where events are JSON values and not text, what is no event cannot be written.
    textual = envelope not in JSON_ONLY
    planted = write(file, SIZE, envelope=envelope, seed=11, writes=0.1, trouble=0.03 if textual else 0.0)
    facts, unreadable = reading(file)
    check(planted, facts, unreadable)
    if textual:
        assert planted.cut > 3
        assert planted.garbage > 3
    every = sum(facts.counts.values()) + sum(unreadable.counts.values())
    # The pieces of other programs' lines that come along in some formats have a fate, too.
    klog = planted.records if envelope == "cri" else 0
    assert every == planted.records + klog


JSON_ONLY = frozenset(
    (
        "pretty",
        "concatenated",
        "array",
        "array of lines",
        "pretty array",
        "event list",
        "sorted",
        "aks object",
        "splunk hec",
        "elastic",
    )
)


@pytest.mark.parametrize("seed", range(4))
def test_the_fast_path_says_what_the_slow_one_says(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipping reads, and dividing the file anywhere, changes nothing."""
    file = tmp_path / "audit.log"
    write(file, 3_000_000, seed=seed, trouble=0.02)
    slow, trouble = reading(file, skip_reads=False)
    fast, same = reading(file)
    monkeypatch.setattr(parallel, "PART_MIN", 100_000)
    divided = parallel.parts([str(file)], 4)
    assert len(divided) >= 8
    assert divided[-1].stop == -1
    parted, again = reading(file, parts=divided)
    for other, unread in ((fast, same), (parted, again)):
        assert list(other.rows()) == list(slow.rows())
        assert other.counts == slow.counts
        assert other.minutes == slow.minutes
        assert sorted(map(str, other.cut_rows())) == sorted(map(str, slow.cut_rows()))
        assert unread.counts == trouble.counts
        assert unread.places == trouble.places


def test_broken_where_it_is_divided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes before an event is not half-written, whoever reads that event."""
    file = tmp_path / "audit.log"
    write(file, 300_000)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(line + b'{"a":{"b":1}\n' for line in lines) + lines[0])
    _, trouble = reading(file)
    assert set(trouble.counts) <= {"not_json", "not_audit_text", "cut_event"}
    monkeypatch.setattr(parallel, "PART_MIN", 50_000)
    divided = parallel.parts([str(file)], 4)
    assert len(divided) > 4
    _, parted = reading(file, parts=divided)
    assert parted.counts == trouble.counts


def test_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real ones, over a raw log in parts and a packed one as a whole."""
    monkeypatch.setattr(parallel, "PART_MIN", 200_000)
    planted = write(tmp_path / "a.log", 1_000_000, seed=1)
    write(tmp_path / "b.log.gz", 1_000_000, seed=1, envelope="gzip")
    found = parallel.parts([str(tmp_path)], 2)
    assert [part.file for part in found] == [str(tmp_path / "a.log")] * 4 + [str(tmp_path / "b.log.gz")]
    heard: list[tuple[str, int]] = []
    results = list(parallel.each(found, count_events, jobs=2, progress=lambda file, done: heard.append((file, done))))
    assert sum(results) == 2 * (planted.records - planted.garbage)
    assert heard[-1][1] == sum(path.stat().st_size for path in tmp_path.iterdir())


def count_events(part: parallel.Part, progress: Progress) -> int:
    total = 0
    for found in parallel.read_part(part, Unreadable(), skip_reads=True, progress=progress):
        assert isinstance(found, Lines)
        total += len(found.lines) + found.reads
    return total


def test_equal_seeds_give_equal_logs(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert write(one, 200_000, seed=5) == write(two, 200_000, seed=5)
    assert one.read_bytes() == two.read_bytes()
    write(two, 200_000, seed=6)
    assert one.read_bytes() != two.read_bytes()


def test_a_fault_of_the_reader_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures are exact enough that one skipped write shows."""
    file = tmp_path / "audit.log"
    planted = write(file, SIZE, seed=3)
    monkeypatch.setattr(raw, "_LIST", ord("u"))  # takes updates for reads
    with pytest.raises(AssertionError):
        check(planted, *reading(file))


@pytest.mark.parametrize("output", ["text", "json"])
def test_secrets_stay_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str) -> None:
    """A value from the bodies is in none of the outputs, whole, cut or broken."""
    file = tmp_path / "audit.log"
    write(file, SIZE, seed=4, trouble=0.05)
    assert SECRET.encode() in file.read_bytes()
    manifest = tmp_path / "set.json"
    manifest.write_text(json.dumps({"digest": SET.digest, "policies": []}), encoding="utf-8")
    with file.open("ab") as log:
        log.write(b'{"kind":"Secret","data":"' + SECRET.encode() + b'"}\n' + SECRET.encode() + b"\n")
    code = cli.main(["readiness", str(file), "--manifest", str(manifest), "--output", output])
    out, err = capsys.readouterr()
    assert code in (0, 1)
    assert "not_audit_event" in err
    assert SECRET not in out + err


def test_nothing_recognised_lists_what_was_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.log").write_text(f'{{"token":"{SECRET}"}}\nplain text\n', encoding="utf-8")
    (tmp_path / "b.log").write_text(json.dumps({"kind": "AdmissionReview", "request": {}}), encoding="utf-8")
    (tmp_path / "c.log").write_text('… AUDIT: id="7" stage="ResponseComplete" ip="::1"\n', encoding="utf-8")
    assert cli.main(["readiness", str(tmp_path)]) == 2
    _, err = capsys.readouterr()
    assert f"1 not_audit_event: {tmp_path / 'a.log'} at byte 0" in err
    assert "1 not_audit_text" in err
    assert "wouldblock review" in err
    assert "no_annotations_format" in err
    assert "--audit-log-format=json" in err
    assert "expected" in err
    assert SECRET not in err


def test_read_and_parts_agree_about_missing_files(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        parallel.parts([str(tmp_path / "absent")], 2)
    with pytest.raises(OSError, match="No such file"):
        list(read([str(tmp_path / "absent")], Unreadable()))


@pytest.mark.parametrize("mix", [lambda line: b"node-1 " + line, lambda line: line[:-1]])
def test_lines_of_both_kinds_in_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mix: Callable[[bytes], bytes]
) -> None:
    """Some as the API server writes them, others with something before, or more behind: none is kept that is not
    wanted, and none is lost."""
    plain, mixed = tmp_path / "plain.log", tmp_path / "mixed.log"
    write(plain, 300_000, writes=0.3, leases=0.3, trouble=0.0)
    lines = plain.read_bytes().splitlines(keepends=True)
    mixed.write_bytes(b"".join(line if number % 5 else mix(line) for number, line in enumerate(lines)))
    expected, _ = reading(plain)
    monkeypatch.setattr(files, "BLOCK", 7_000)
    facts, trouble = reading(mixed)
    assert facts.counts == expected.counts
    assert list(facts.rows()) == list(expected.rows())
    assert facts.minutes == expected.minutes
    assert not trouble
