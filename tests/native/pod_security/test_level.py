"""Versions, and which standard a namespace's labels ask for."""

from __future__ import annotations

from typing import Any

import pytest

from webhook.native.pod_security.level import Standard, in_force, minor, parse_version

PREFIX = "pod-security.kubernetes.io/"


@pytest.mark.parametrize("text", ["latest", "v1.0", "v1.9", "v1.37", "v1.100"])
def test_versions(text: str) -> None:
    assert parse_version(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "Latest", "1.30", "v1", "v1.01", "v2.0", "v1.30 ", "v1.30\n", "v1.-1", "v1.٣", "v1." + "9" * 30, None, 1],
)
def test_no_versions(text: Any) -> None:
    assert parse_version(text) is None


@pytest.mark.parametrize(
    ("version", "newest", "expected"),
    [
        ("latest", 37, 37),
        ("latest", 34, 34),
        ("latest", 99, 37),
        ("v1.34", 37, 34),
        ("v1.36", 34, 34),
        ("v1.99", 37, 37),
        ("v1.0", 37, 0),
    ],
)
def test_the_server_knows_nothing_newer_than_itself(version: str, newest: int, expected: int) -> None:
    assert minor(version, newest) == expected


@pytest.mark.parametrize(
    ("labels", "default", "standard", "labelled"),
    [
        ({}, "restricted:latest", "restricted:latest", False),
        ({"team": "a"}, "baseline:v1.30", "baseline:v1.30", False),
        ({"warn": "baseline"}, "restricted:latest", "baseline:latest", True),
        ({"warn": "restricted"}, "restricted:latest", "restricted:latest", True),
        ({"warn": "baseline", "warn-version": "v1.31"}, "restricted:latest", "baseline:v1.31", True),
        # A warn label stands for itself: versions of other modes are not its own.
        ({"warn": "baseline", "enforce-version": "v1.31"}, "restricted:latest", "baseline:latest", True),
        # No warn label, enforce stricter than the default.
        ({"enforce": "restricted", "enforce-version": "v1.31"}, "baseline:latest", "restricted:v1.31", True),
        ({"enforce": "baseline"}, "privileged:v1.30", "baseline:v1.30", True),
        (
            {"enforce": "restricted", "enforce-version": "v1.31", "warn-version": "v1.32", "audit-version": "v1.1"},
            "privileged:latest",
            "restricted:v1.32",
            True,
        ),
        ({"warn": "privileged", "enforce": "restricted"}, "baseline:latest", "privileged:latest", True),
        # ... and not stricter: the default stays.
        ({"enforce": "baseline"}, "restricted:latest", "restricted:latest", False),
        (
            {"enforce": "restricted", "enforce-version": "v1.30", "audit-version": "v1.31"},
            "restricted:latest",
            "restricted:v1.31",
            True,
        ),
        ({"enforce": "privileged"}, "privileged:latest", "privileged:latest", False),
        # Versions pinned by whatever mode.
        ({"audit": "restricted", "audit-version": "v1.30"}, "restricted:latest", "restricted:v1.30", True),
        ({"enforce-version": "v1.30", "audit-version": "v1.31"}, "restricted:latest", "restricted:v1.31", True),
        # What cannot be read.
        ({"warn": "Baseline"}, "restricted:v1.30", "privileged:v1.30", True),
        ({"warn": 1}, "restricted:v1.30", "privileged:v1.30", True),
        ({"warn": ["a"]}, "restricted:v1.30", "privileged:v1.30", True),
        ({"warn": "baseline", "warn-version": "1.30"}, "restricted:v1.30", "baseline:latest", True),
        ({"enforce": "strict"}, "privileged:latest", "privileged:latest", False),
    ],
)
def test_in_force(labels: dict[str, Any], default: str, standard: str, labelled: bool) -> None:
    level, version = default.split(":")
    prefixed = {key if key == "team" else PREFIX + key: value for key, value in labels.items()}
    found, had_a_say = in_force(prefixed, Standard(level, version))  # type: ignore[arg-type]
    assert (str(found), had_a_say) == (standard, labelled)
