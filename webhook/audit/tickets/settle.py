"""Whether a workload still violates, as far as the log proves it.

A violation counts until it is proven gone: the workload was deleted, or written again, reviewed and without a finding,
and nothing that was not seen came after. Knows one workload; no policy, no other ticket, no clock.

A Deployment, its ReplicaSets and its pods are one workload in several parts. What the object itself says goes before
what was made of it: once its template passes, what is done with the leftovers of the old one (scaling a ReplicaSet down
leaves its violation as it was) brings nothing back.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from webhook.audit.attribution import KINDS
from webhook.audit.tickets.model import Part, Status, Time, Workload, latest


class Proof(Struct, frozen=True, kw_only=True):
    """How many reviewed writes without a finding, after the last with one, prove it gone."""

    writes: int = 1
    """Of the workload: each of them shows all there is of it."""
    anonymous: int = 30
    """Of the namespace, for violations of which no workload is known."""


DEFAULTS = Proof()


def settle(workload: Workload, *, resources: Callable[[str], str], proof: Proof = DEFAULTS) -> Workload:
    """The workload with the `status` and `why` that follow from its parts. `resources`: kind → its resource."""
    status, why = _judge(workload, resources(workload.kind), proof)
    return replace(workload, status=status, why=why)


def resource_of(kind: str) -> str:
    """The resource of a root's kind, as `attribution` names roots: workloads by kind, others by resource."""
    return _RESOURCES.get(kind) or kind.partition(".")[0]


_RESOURCES = {kind: resource for (_, resource), kind in KINDS.items()}


def _judge(workload: Workload, resource: str, proof: Proof) -> tuple[Status, str]:
    parts = workload.parts
    violated = latest(*map(_last, parts.values()))
    gone = workload.gone
    if gone is not None and (violated is None or gone > violated):
        return "gone", f"deleted {_shown(gone)}"
    own = parts.get(resource) if workload.name else None
    template = _proven(own, proof.writes) if own is not None else None
    worst: tuple[Status, str] = ("fixed", "")
    accepted = False
    for name, part in sorted(parts.items()):
        last = part.violated if part is not own and own is not None and _passed(own) else _last(part)
        if last is None or (template is not None and part is not own and template > last):
            continue
        status, why = _part(name, part, last, proof.writes if workload.name else proof.anonymous)
        if status == "open" and part is not own and own is not None and own.blind is not None and own.blind > last:
            # Its template may have been mended, or not: what is made of it follows.
            status, why = "unproven", _unseen(resource, own)
        accepted = accepted or status == "exempted"
        if status == "open" or (status == "unproven" and worst[0] != "open"):
            worst = status, why
        elif status in ("fixed", "exempted") and worst[0] == "fixed":
            worst = "fixed", max(worst[1], why)
    if worst[0] == "fixed":
        if accepted:
            return "exempted", "its latest write is exempted"
        why = worst[1] or (f"reviewed without a finding {_shown(template)}" if template else "")
        left = latest(*(part.remnant for part in parts.values() if part is not own and template is not None))
        if left is not None and template is not None and left > template:
            why += f"; what is left of an older template violated until {_shown(left)}"
        return "fixed", why
    return worst


def _part(name: str, part: Part, violated: Time, needed: int) -> tuple[Status, str]:
    clean = latest(part.passed, part.exempted)
    if clean is None or clean <= violated:
        if part.blind is not None and part.blind > violated:
            return "unproven", _unseen(name, part)
        return "open", ""
    if part.blind is not None and part.blind > clean:
        return (
            "unproven",
            f"{name}: passed {_shown(clean)}, but a write {_shown(part.blind)} was not seen ({part.cause})",
        )
    if part.exempted is not None and clean == part.exempted:
        return "exempted", ""
    if part.passes < needed:
        return "unproven", f"{name}: {part.passes} of {needed} reviewed writes without a finding"
    return "fixed", f"reviewed without a finding {_shown(clean)}"


def _unseen(name: str, part: Part) -> str:
    return f"{name}: written {_shown(part.blind)}, but not seen ({part.cause})"


def _last(part: Part) -> Time | None:
    return latest(part.violated, part.remnant)


def _passed(own: Part) -> bool:
    clean = latest(own.passed, own.exempted)
    violated = _last(own)
    return clean is not None and (violated is None or clean > violated)


def _proven(own: Part, needed: int) -> Time | None:
    """When the object itself was last seen to pass, with nothing unseen after it; None while that is not proven."""
    clean = latest(own.passed, own.exempted)
    if clean is None or not _passed(own) or (own.blind is not None and own.blind > clean):
        return None
    return clean if own.passes >= needed or clean == own.exempted else None


def _shown(time: Time | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ") if time is not None else ""
