"""The functions of CEL and of Kubernetes' libraries, one module a family, each a tuple `OVERLOADS` of rows.

A function here gets values that fit its row's signature and returns a value or raises `CelError`; what to do with
arguments of other types is the table's business.
"""

from __future__ import annotations

from webhook.cel.library import (
    authz,
    containers,
    conversions,
    format,
    formats,
    lists,
    net,
    operators,
    quantity,
    semver,
    strings,
    time,
    url,
)
from webhook.cel.overload import table

EVERY = table(
    (
        *operators.OVERLOADS,
        *conversions.OVERLOADS,
        *containers.OVERLOADS,
        *strings.OVERLOADS,
        *time.OVERLOADS,
        *format.OVERLOADS,
        *lists.OVERLOADS,
        *quantity.OVERLOADS,
        *semver.OVERLOADS,
        *net.OVERLOADS,
        *url.OVERLOADS,
        *formats.OVERLOADS,
        *authz.OVERLOADS,
    )
)
"""Every overload by function name."""
FUNCTIONS = {name: kept for name, rows in EVERY.items() if (kept := tuple(row for row in rows if not row.until))}
"""Those of the newest version."""
