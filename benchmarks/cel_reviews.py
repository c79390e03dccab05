"""Whole reviews with many CEL policies: decoding, policies and encoding against `json.loads`; a thousand policies to
load; and what policies that do not match cost. Each figure comes out of a process of its own.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks.cel_objects import SIZES, UID, deployments, update
from benchmarks.host import ROOT

ROUNDS = 9
_BUDGET = 0.5


class Codec(Struct):
    """Microseconds for one review of `bytes`; ratios are medians of rounds."""

    bytes: int
    violated: int
    json_loads: float
    whole: float
    ratio: float


class Load(Struct):
    """A thousand policies: seconds of CPU, MB of memory."""

    seconds: float
    before: float
    after: float


class Growth(Struct):
    """Microseconds a review, by (policies that match, policies that do not)."""

    matching: int
    others: int
    microseconds: float


class Reviews(Struct):
    expressions: Codec
    generated: Codec
    thousand: Load
    growth: list[Growth]


def measure() -> Reviews:
    """All of it, one process after the other."""
    counts = ((100, 0), (100, 900), (1000, 0))
    return Reviews(
        expressions=_child(Codec, "codec", "expressions"),
        generated=_child(Codec, "codec", "generated"),
        thousand=_child(Load, "load"),
        growth=[_child(Growth, "growth", str(matching), str(others)) for matching, others in counts],
    )


def _child(kind: type[Any], *arguments: str) -> Any:
    import msgspec

    line = [sys.executable, "-m", "benchmarks.cel_reviews", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    ended = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: exit code {ended.returncode}\n{ended.stderr[-2000:]}")
    return msgspec.json.decode(ended.stdout.splitlines()[-1], type=kind)


def _policies(kind: str, *, copies: int = 1, elsewhere: int = 0) -> Any:
    """A set of the generated or the hundred policies, and nothing else."""
    from benchmarks import cel_policies, policies
    from webhook.load import load
    from webhook.policyset import PolicySet

    with tempfile.TemporaryDirectory() as folder:
        if kind == "generated":
            policies.write(Path(folder), 100)
        else:
            cel_policies.write(Path(folder), copies=copies, elsewhere=elsewhere)
        found = load([Path(folder)])
    if found.broken:
        raise RuntimeError(f"a policy does not load: {found.broken[0]}")
    return PolicySet([one for one in found.policies if not one.id.startswith("pod-security-")])


def codec(kind: str) -> Codec:
    from webhook import envelope
    from webhook.evaluate import evaluate
    from webhook.respond import respond

    policies, body = _policies(kind), update()

    def whole() -> bytes:
        request = envelope.decode(body)
        return respond(request, evaluate(policies, request, clock=time.monotonic, budget=_BUDGET))

    outcome = evaluate(policies, envelope.decode(body), budget=_BUDGET)
    ran = outcome.evaluated.bit_count()
    if ran != 100 or outcome.incomplete or f'"uid":"{UID}"'.encode() not in whole():
        raise RuntimeError(f"{ran} of 100 policies ran")
    _settle()
    ours, theirs = [], []
    for _ in range(ROUNDS):
        theirs.append(_once(lambda: json.loads(body)))
        ours.append(_once(whole))
    ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
    violated = len({each.policy for each in outcome.findings})
    return Codec(len(body), violated, min(theirs) * 1e6, min(ours) * 1e6, ratio)


def load_thousand() -> Load:
    from benchmarks import policies
    from webhook.load import load

    with tempfile.TemporaryDirectory() as folder:
        policies.write(Path(folder), 1000)
        load([ROOT / "policies"])  # what is imported on the way is not the policies'
        gc.collect()
        before, began = _resident(), time.process_time()
        found = load([Path(folder)])
        seconds = time.process_time() - began
    if len(found.policies) < 1000 or found.broken:
        raise RuntimeError(f"{len(found.policies)} policies, {len(found.broken)} problems")
    gc.collect()
    return Load(seconds, before, _resident())


def growth(matching: int, others: int) -> Growth:
    from benchmarks.cel_policies import request_of
    from webhook.evaluate import evaluate

    policies = _policies("expressions", copies=matching // 100, elsewhere=others)
    request = request_of(deployments()[SIZES[1]])
    outcome = evaluate(policies, request, budget=_BUDGET)
    if outcome.evaluated.bit_count() != matching or len(policies.policies) != matching + others:
        raise RuntimeError(f"{outcome.evaluated.bit_count()} policies ran of {len(policies.policies)}")
    _settle()
    times = [_once(lambda: evaluate(policies, request, budget=_BUDGET)) for _ in range(ROUNDS)]
    return Growth(matching, others, min(times) * 1e6)


def _once(work: Callable[[], object]) -> float:
    """CPU seconds for once, over about 30 ms."""
    times = 1
    while True:
        began = time.thread_time()
        for _ in range(times):
            work()
        spent = time.thread_time() - began
        if spent > 0.02:
            return spent / times
        times = max(times + 1, int(times * 0.03 / max(spent, 1e-6)))


def _settle() -> None:
    gc.collect()
    gc.freeze()


def _resident() -> float:
    """MB (10⁶ bytes)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    import msgspec

    match sys.argv[1:]:
        case ["codec", kind]:
            result: Struct = codec(kind)
        case ["load"]:
            result = load_thousand()
        case ["growth", matching, others]:
            result = growth(int(matching), int(others))
        case _:
            sys.exit("usage: codec KIND | load | growth MATCHING OTHERS")
    print(msgspec.json.encode(result).decode())
