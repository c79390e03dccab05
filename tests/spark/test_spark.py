"""On a real local Spark the facts are the same as in one process, whatever the partitions."""

from __future__ import annotations

import datetime
import gzip
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.audit.conftest import Log, record
from webhook.annotations import WEBHOOK_NAME
from webhook.audit.fact import Ours
from webhook.audit.table.engine import open_facts
from webhook.audit.table.store import Source, update
from webhook.errors import UserError

pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("default")]
pytest.importorskip("pyspark", reason="pyspark is not installed: make spark")

OURS = Source(Ours((WEBHOOK_NAME,)))


def facts(folder: Path) -> list[tuple[Any, ...]]:
    with open_facts(folder) as connection:
        return connection.execute("SELECT * FROM facts ORDER BY ALL").fetchall()


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    # A short life: what a JVM and Spark compile would never pay.
    os.environ["PYSPARK_SUBMIT_ARGS"] = (
        "--driver-memory 1g --driver-java-options '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC' pyspark-shell"
    )
    made = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "3")
        .config("spark.sql.codegen.wholeStage", "false")
        .config("spark.sql.session.timeZone", "America/New_York")  # a trap: days are UTC
        .getOrCreate()
    )
    yield made
    made.stop()


@pytest.fixture
def lines() -> list[bytes]:
    log = Log(record("p", "q"), step=datetime.timedelta(minutes=40))
    for number in range(40):
        log.write(name=f"a-{number}", stage="RequestReceived", audit_id=f"a-{number}", at=log.now)
        log.write(name=f"a-{number}", audit_id=f"a-{number}", outcome=log.outcome("p" if number % 3 else "q"))
        log.write(name=f"a-{number}", code=403, user="mallory")
    cut = log.write(audit_id="cut", outcome=log.outcome())
    log.lines[-1] = cut[: cut.index(b'"requestReceivedTimestamp"')]
    cut = log.write(audit_id="a-3")
    log.lines[-1] = cut[:-150]
    return [*log.lines, *log.lines[:30]]


def test_lines_give_the_same_facts(session: Any, lines: list[bytes], tmp_path: Path) -> None:
    from webhook.audit import spark

    for number in range(3):
        (tmp_path / f"{number}.log").write_bytes(b"\n".join(lines[number::3]) + b"\n")
    logs = [str(tmp_path / f"{number}.log") for number in range(3)]
    update(tmp_path / "facts", logs, OURS)
    found = spark.facts(session.read.text(logs).repartition(5))
    spark.write(found, str(tmp_path / "spark"))
    assert facts(tmp_path / "spark") == facts(tmp_path / "facts")


def test_files_give_the_same_facts_on_what_a_real_api_server_wrote(session: Any, corpora: Path, tmp_path: Path) -> None:
    from webhook.audit import spark

    raw = corpora / "audit" / "raw" / "kube-1.37.jsonl"
    packed = tmp_path / "logs" / "kube.log.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(raw.read_bytes()[:-100] + b"\n{broken: 1}\nx\n", mtime=0))
    logs = [str(packed), *map(str, sorted((corpora / "audit" / "eventlist").iterdir()))]
    source = Source(Ours(("check.example.dev",)), "prod eu/1")
    update(tmp_path / "facts", logs, source)
    found = spark.facts(session.read.format("binaryFile").load(logs), cluster="prod eu/1", names=("check.example.dev",))
    spark.write(found, str(tmp_path / "spark"))
    expected = facts(tmp_path / "facts")
    assert len(expected) > 1_000
    assert facts(tmp_path / "spark") == expected
    with open_facts(tmp_path / "spark") as connection:
        assert connection.execute("SELECT DISTINCT cluster FROM facts").fetchall() == [("prod eu/1",)]


def test_a_dataframe_of_something_else_is_named(session: Any) -> None:
    from webhook.audit import spark

    with pytest.raises(UserError, match="expected `value`"):
        spark.facts(session.range(3))
