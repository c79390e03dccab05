"""Log lines: one JSON object each, thinned in floods, never in the way."""

from __future__ import annotations

import io
import json
import logging
import threading
from typing import Any

from webhook.serve.log import BURST, QUEUE_LINES, VALUE_RUNES, WINDOW, Handler, Log


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line() -> None:
    stream = io.StringIO()
    log = Log(stream, clock=lambda: 1_700_000_000.25)
    log("started", port=1, names=["a", "b"], nothing=None, path=io.BytesIO)
    log.close()
    (line,) = lines(stream)
    assert line["time"] == "2023-11-14T22:13:20.250Z"
    assert (line["level"], line["event"], line["port"], line["names"], line["nothing"]) == (
        "info",
        "started",
        1,
        ["a", "b"],
        None,
    )


def test_text_cannot_break_out_of_its_line() -> None:
    stream = io.StringIO()
    log = Log(stream)
    log("odd", text='\n{"event":"forged"}\x1b[2J\u202e\ud800', long="x" * 10_000, many=["y"] * 1_000)
    log.close()
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().isascii()
    assert not set(stream.getvalue()) & {"\x1b", "\x00"}
    (line,) = lines(stream)
    assert len(line["long"]) == VALUE_RUNES
    assert len(line["many"]) == 50


def test_levels() -> None:
    stream = io.StringIO()
    log = Log(stream, level="warning")
    log("quiet")
    log("loud", level="error")
    log.close()
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_floods_are_thinned_and_said() -> None:
    stream = io.StringIO()
    now = [0.0]
    log = Log(stream, clock=lambda: now[0])
    for _ in range(BURST + 90):
        log("flood")
    log("other")
    now[0] = WINDOW
    log("flood")
    log.close()
    seen = lines(stream)
    assert [line["event"] for line in seen].count("flood") == BURST + 1
    assert seen[-1]["suppressed"] == 90
    assert "suppressed" not in seen[0]


def test_nobody_waits_for_a_full_pipe() -> None:
    gate = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            gate.wait(30)
            return super().write(text)

    dropped: list[int] = []
    stream = Stuck()
    log = Log(stream, dropped=lambda: dropped.append(1))
    for number in range(QUEUE_LINES + 50):
        log(f"event-{number}")
    assert 0 < len(dropped) <= 50
    gate.set()
    log.close(10)
    assert len(lines(stream)) == QUEUE_LINES + 50 - len(dropped)


def test_a_closed_stream_is_no_error() -> None:
    stream = io.StringIO()
    dropped: list[int] = []
    log = Log(stream, dropped=lambda: dropped.append(1))
    stream.close()
    log("unheard")
    log.close()
    assert dropped == [1]


def test_library_lines_carry_no_values() -> None:
    stream = io.StringIO()
    log = Log(stream)
    logger = logging.Logger("uvicorn.error")
    logger.addHandler(Handler(log))
    objects: dict[str, str] = {}
    try:
        objects["secret of an object"]
    except KeyError:
        logger.exception("Exception in ASGI application\n")
    logger.warning("value %s", "secret")
    logger.info("chatter")
    log.close()
    assert "secret" not in stream.getvalue()
    assert [(line["event"], line["exception"]) for line in lines(stream)] == [
        ("library_uvicorn.error", "KeyError"),
        ("library_uvicorn.error", ""),
    ]
