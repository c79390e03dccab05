"""What of the logs could not be read, said on stderr; and that nothing in them is an audit event."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from webhook.audit import source
from webhook.audit.render import safe
from webhook.audit.source import Unreadable
from webhook.errors import UserError


def nothing_found(logs: Sequence[str], unreadable: Unreadable) -> UserError:
    """Nothing in the logs is an audit event: what was seen instead, and what was expected."""
    seen = [f"  {line}" for line in described(unreadable)] or ["  nothing: empty"]
    return UserError(
        "\n".join(
            [
                f"{', '.join(map(safe, logs))}: no audit event found. Seen:",
                *seen,
                "expected the API server's audit log (JSON Lines of audit.k8s.io/v1 or v1beta1, EventList), or what",
                "became of it in CloudWatch, Cloud Logging, Azure Monitor, OpenShift, OTLP (JSON), Elastic, Loki,",
                "Splunk, Fluent Bit, Vector, syslog or a container runtime; plain, gzip, zstd or zip",
            ]
        )
    )


def described(unreadable: Unreadable) -> list[str]:
    """A line for each reason: how much of what, where, what it means and what to do."""
    lines = []
    for reason, count in sorted(unreadable.counts.items()):
        places = unreadable.places[reason]
        more = ", …" if count > len(places) else ""
        meaning = source.MEANING.get(reason, "")
        shown_ = ", ".join(safe(str(each)) for each in places) + more
        lines.append(f"{count} {reason}: {shown_}" + (f" ({meaning})" if meaning else ""))
    return lines


def warn_of_unreadable(unreadable: Unreadable) -> None:
    """What could not be read, and where, on stderr."""
    for line in described(unreadable):
        err(f"not read: {line}")


def err(text: str) -> None:
    print(text, file=sys.stderr)
