"""Settings: each said once, and a wrong one named."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from webhook import settings
from webhook.errors import UserError
from webhook.settings import Settings


def read(*arguments: str, **environment: str) -> Settings:
    parser = argparse.ArgumentParser()
    settings.add_options(parser)
    return settings.read(parser.parse_args(arguments), environment)


def test_defaults() -> None:
    assert read() == Settings()
    assert Settings().port == 8443
    assert Settings().keep_alive > 90


EXAMPLES: dict[str, tuple[str, Any]] = {
    "host": ("127.0.0.1", "127.0.0.1"),
    "port": ("9443", 9443),
    "metrics_port": ("0", 0),
    "tls_cert": ("a.crt", Path("a.crt")),
    "tls_key": ("a.key", Path("a.key")),
    "client_ca": ("ca.crt", Path("ca.crt")),
    "policies": ("p", (Path("p"),)),
    "enable": ("all", ("all",)),
    "kubernetes_version": ("1.35", "1.35"),
    "exemptions": ("e.yaml", Path("e.yaml")),
    "snapshot": ("s", (Path("s"),)),
    "pod_security_level": ("baseline", "baseline"),
    "pod_security_version": ("v1.30", "v1.30"),
    "budget_ms": ("7.5", 7.5),
    "large_body_bytes": ("1000", 1000),
    "max_in_flight": ("7", 7),
    "max_bytes": ("70", 70),
    "max_wait_ms": ("20", 20.0),
    "keep_alive": ("120", 120),
    "drain_seconds": ("0", 0.0),
    "mute_warnings": ("true", True),
    "record": ("r", Path("r")),
    "record_rate": ("0.1", 0.1),
    "record_bytes": ("2000000", 2_000_000),
    "record_days": ("1.5", 1.5),
    "record_env": ("true", True),
    "record_config_maps": ("true", True),
    "traces": ("log", "log"),
    "log_level": ("debug", "debug"),
}


def test_every_field_has_an_example() -> None:
    assert list(EXAMPLES) == [field.name for field in msgspec.structs.fields(Settings)]


@pytest.mark.parametrize("row", settings.rows(), ids=lambda row: row.field)
def test_every_field_can_be_set_both_ways_and_is_documented(row: settings.Row) -> None:
    text, value = EXAMPLES[row.field]
    flag = (row.flag,) if value is True else (row.flag, text)
    assert getattr(read(*flag), row.field) == value
    assert getattr(read(**{row.environment: text}), row.field) == value
    assert row.flag == "--" + row.field.replace("_", "-")
    assert row.environment == "WOULDBLOCK_" + row.field.upper()
    assert len(row.text) > 20


def test_flags_win_over_the_environment_and_empty_is_unset() -> None:
    assert read("--port", "1", WOULDBLOCK_PORT="2").port == 1
    assert read("--no-mute-warnings", WOULDBLOCK_MUTE_WARNINGS="true").mute_warnings is False
    assert read(WOULDBLOCK_PORT="").port == 8443


def test_several_paths() -> None:
    assert read("--policies", "a", "b", "--policies", "c").policies == (Path("a"), Path("b"), Path("c"))
    assert read(WOULDBLOCK_SNAPSHOT=os.pathsep.join(["a", "", "b"])).snapshot == (Path("a"), Path("b"))


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--port", "70000", "<= 65535"),
        ("--port", "https", "`int`"),
        ("--budget-ms", "0", "> 0"),
        ("--budget-ms", "501", "<= 500"),
        ("--keep-alive", "90", ">= 91"),
        ("--drain-seconds", "-1", ">= 0"),
        ("--pod-security-version", "1.30", "matching regex"),
        ("--pod-security-level", "strict", "invalid enum value 'strict'"),
        ("--traces", "yes", "invalid enum value 'yes'"),
        ("--tls-cert", "", "path"),
    ],
)
def test_a_wrong_value_names_the_flag_or_the_variable(flag: str, value: str, expected: str) -> None:
    with pytest.raises(UserError) as error:
        read(flag, value)
    assert str(error.value).startswith(f"{flag} '{value}': ")
    assert expected in str(error.value)
    if value:
        name = "WOULDBLOCK_" + flag[2:].upper().replace("-", "_")
        with pytest.raises(UserError, match=f"^{name} "):
            read(**{name: value})


def test_help_shows_everything() -> None:
    parser = argparse.ArgumentParser()
    settings.add_options(parser)
    text = " ".join(parser.format_help().split())
    for row in settings.rows():
        assert row.flag in text
        assert row.environment in text
