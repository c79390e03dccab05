"""Quoting and plurals as Kubernetes and Go have them."""

from __future__ import annotations

import pytest

from webhook.native.pod_security import text


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("", '""'),
        ("unconfined", '"unconfined"'),
        ('a"b\\c', r'"a\"b\\c"'),
        ("\a\b\f\n\r\t\v", r'"\a\b\f\n\r\t\v"'),
        ("\x00\x1f\x7f", r'"\x00\x1f\x7f"'),
        ("\x80\xa0\xad", r'"\u0080\u00a0\u00ad"'),
        ("é日本e\u0301🙂", '"é日本e\u0301🙂"'),
        ("\u200b\u2028\ufeff\U000e0001", r'"\u200b\u2028\ufeff\U000e0001"'),
    ],
)
def test_go_quoted(value: str, quoted: str) -> None:
    assert text.go_quoted(value) == quoted


def test_setters() -> None:
    assert text.setters(False, []) == ""
    assert text.setters(True, []) == "pod"
    assert text.setters(False, ["a", 'b"']) == 'containers "a", "b""'
    assert text.setters(True, ["a"]) == 'pod and container "a"'


def test_plural() -> None:
    assert [text.plural("type", ["a"] * count) for count in range(3)] == ["types", "type", "types"]
