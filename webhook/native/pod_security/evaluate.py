"""A pod against a level at a version: which checks fail, and the text Pod Security has for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from webhook.native.pod_security.check import Function, Violation
from webhook.native.pod_security.level import EvaluatedLevel
from webhook.native.pod_security.registry import RUNS
from webhook.native.pod_security.screen import EVERYTHING
from webhook.workload import Pod

Results = dict[Function, Violation | None]
"""What each function said of one pod: levels share most of their checks."""

Failures = tuple[tuple[str, Violation], ...]
"""(check id, violation), in evaluation order; empty for a pass."""


_STRIDE = 6
"""Checks between two looks at the clock: six take some tens of microseconds for an ordinary pod."""


def evaluate(
    pod: Pod,
    level: EvaluatedLevel,
    minor: int,
    *,
    suspects: int = EVERYTHING,
    results: Results | None = None,
    tick: Callable[[], None] | None = None,
) -> Failures:
    """The checks of a level that a pod fails. `minor` is within what `registry.RUNS` knows.

    `suspects` is what `screen.suspects` said of the pod: other checks are not asked. `results` is filled, and read
    first. `tick` is called now and then and may raise to stop.
    """
    known = {} if results is None else results
    failures = []
    turn = 0
    for check, function, bit in RUNS[level, minor]:
        if not suspects & bit:
            continue
        if function in known:
            violation = known[function]
        else:
            if tick is not None and not turn % _STRIDE:
                tick()
            turn += 1
            violation = known[function] = function(pod)
        if violation is not None:
            failures.append((check, violation))
    return tuple(failures)


def message(level: EvaluatedLevel, version: str, failures: Iterable[tuple[str, Violation]]) -> str:
    """The warning, which is also the audit annotation `pod-security.kubernetes.io/audit-violations`."""
    return f'would violate PodSecurity "{level}:{version}": ' + ", ".join(str(each) for _, each in failures)
