"""The exemptions file: nobody's, endless and too wide entries cannot be loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from webhook.errors import InvalidInput
from webhook.exemptions import read_exemptions

GOOD = """\
exemptions:
- id: node-agent
  policies: [pod-security-baseline]
  namespaces: [monitoring]
  kinds: [DaemonSet, Pod]
  names: [node-exporter]
  reason: reads the host's network statistics
  owner: team-observability
  created: 2026-09-01
  expires: 2026-12-31
"""


def test_a_good_file(tmp_path: Path) -> None:
    file = tmp_path / "exemptions.yaml"
    file.write_text(GOOD)
    (entry,) = read_exemptions(file).entries
    assert (entry.id, entry.owner, entry.names) == ("node-agent", "team-observability", ("node-exporter",))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("reason: reads the host's network statistics", "reason: because"), "reason is too short"),
        (("owner: team-observability", "owner: ' '"), "owner is too short"),
        (("expires: 2026-12-31", "expires: 2028-01-01"), "more than 180 days"),
        (("expires: 2026-12-31", "expires: 2026-01-01"), "expires is before created"),
        (("  expires: 2026-12-31\n", ""), "missing required field `expires`"),
        (("[pod-security-baseline]\n  namespaces: [monitoring]", "['*']"), "needs `namespaces`"),
        (("  kinds:", "  kind:"), "unknown field `kind`"),
        (("exemptions:", "exemption:"), "a list `exemptions`"),
        (("[monitoring]", "[monitoring"), "not YAML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: tuple[str, str], text: str) -> None:
    file = tmp_path / "exemptions.yaml"
    file.write_text(GOOD.replace(*change))
    assert file.read_text() != GOOD
    with pytest.raises(InvalidInput) as caught:
        read_exemptions(file)
    assert text in str(caught.value)
    assert str(file) in str(caught.value)


def test_ids_are_unique(tmp_path: Path) -> None:
    file = tmp_path / "exemptions.yaml"
    file.write_text(GOOD + GOOD.split("\n", 1)[1])
    with pytest.raises(InvalidInput, match="used twice"):
        read_exemptions(file)
