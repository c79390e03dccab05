"""Do the cases of a policy notice when its expressions change? What they do not notice, they do not test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from webhook.check.cases import Bench, CaseFile
from webhook.check.mutants import Mutant, mutants
from webhook.errors import UserError


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """One policy's mutants."""

    policy: str
    tried: int
    survivors: tuple[Mutant, ...] = ()
    """Those that no case notices."""
    equal: int = 0
    """Those that the case file says cannot be told from the policy."""
    unused: tuple[str, ...] = ()
    """What the case file says of changes that are noticed, or are no changes."""


def survey(file: CaseFile) -> Survey:
    """Raises `InvalidInput` for a broken policy, and `UserError` if its cases do not hold as it is: they would notice
    every change."""
    bench = Bench(file)
    wrong = next((case.name for case, wrong in bench.results() if wrong), None)
    if wrong is not None:
        raise UserError(f"{file.policy}: the case {wrong!r} does not hold; repair that before changes are tried")
    tried = equal = 0
    survivors: list[Mutant] = []
    unused = set(file.equal)
    for mutant in _distinct(mutants(bench.spec), bench):
        tried += 1
        if bench.notices(mutant.spec):
            continue
        if mutant.name in file.equal:
            unused.discard(mutant.name)
            equal += 1
        else:
            survivors.append(mutant)
    return Survey(
        policy=bench.spec.id, tried=tried, survivors=tuple(survivors), equal=equal, unused=tuple(sorted(unused))
    )


def _distinct(found: Iterator[Mutant], bench: Bench) -> Sequence[Mutant]:
    """Each changed policy once."""
    seen: dict[object, Mutant] = {}
    for mutant in found:
        seen.setdefault((mutant.place.path, mutant.text), mutant)
    return list(seen.values())
