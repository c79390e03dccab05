"""`python -m tests.e2e.plane`: builds or finds the control plane, and prints its folder.

Progress is on stderr, a line every 20 s; exit code 2 when there is no way to the binaries.
"""

from __future__ import annotations

import sys

from tests.e2e.plane.binaries import NoControlPlane, find


def main() -> int:
    try:
        found = find(lambda line: print(f"controlplane: {line}", file=sys.stderr, flush=True))
    except NoControlPlane as error:
        print(f"controlplane: {error}", file=sys.stderr)
        return 2
    print(found.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
