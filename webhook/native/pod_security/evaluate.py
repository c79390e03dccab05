"""A pod against a level at a version: which checks fail, and the text Pod Security has for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from webhook.native.pod_security.check import Function, Violation
from webhook.native.pod_security.level import EvaluatedLevel
from webhook.native.pod_security.registry import RUNS
from webhook.workload import Pod

Results = dict[Function, Violation | None]
"""What each function said of one pod: levels share most of their checks."""

Failures = tuple[tuple[str, Violation], ...]
"""(check id, violation), in evaluation order; empty for a pass."""


def evaluate(
    pod: Pod,
    level: EvaluatedLevel,
    minor: int,
    *,
    results: Results | None = None,
    tick: Callable[[], None] | None = None,
) -> Failures:
    """The checks of a level that a pod fails. `minor` is within what `registry.RUNS` knows.

    `results` is filled, and read first. `tick` is called before each function and may raise to stop.
    """
    known = {} if results is None else results
    failures = []
    for check, function in RUNS[level, minor]:
        if function not in known:
            if tick is not None:
                tick()
            known[function] = function(pod)
        violation = known[function]
        if violation is not None:
            failures.append((check, violation))
    return tuple(failures)


def message(level: EvaluatedLevel, version: str, failures: Iterable[tuple[str, Violation]]) -> str:
    """The warning, which is also the audit annotation `pod-security.kubernetes.io/audit-violations`."""
    return f'would violate PodSecurity "{level}:{version}": ' + ", ".join(str(each) for _, each in failures)
