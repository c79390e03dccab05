"""The cluster's state out of what `kubectl get -o yaml` writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from webhook.errors import InvalidInput
from webhook.state import EMPTY, read_snapshot, snapshot

LIST = """\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata: {name: shop, labels: {env: prod}}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: limits, namespace: shop}
  data: {date: 2026-01-01}
"""
TYPED = """\
apiVersion: v1
kind: ConfigMapList
items:
- metadata: {name: typed, namespace: shop}
---
apiVersion: v1
kind: SecretList
items: []
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_documents_lists_and_typed_lists(tmp_path: Path) -> None:
    state = read_snapshot([write(tmp_path, a=LIST, b=TYPED)])
    namespace = state.namespace("shop")
    assert namespace is not None
    assert namespace["metadata"]["labels"] == {"env": "prod"}
    assert [each["metadata"]["name"] for each in state.list("v1", "ConfigMap", "shop")] == ["limits", "typed"]
    limits = state.get("v1", "ConfigMap", "shop", "limits")
    assert limits is not None
    assert limits["data"] == {"date": "2026-01-01"}


def test_an_empty_typed_list_says_that_there_are_none(tmp_path: Path) -> None:
    state = read_snapshot([write(tmp_path, b=TYPED)])
    assert state.knows("v1", "Secret")
    assert not state.knows("v1", "Service")


def test_an_object_whose_kind_ends_in_list_is_an_object(tmp_path: Path) -> None:
    write(tmp_path, a="apiVersion: example.dev/v1\nkind: AllowList\nmetadata: {name: a}\nitems: [x]\n")
    assert read_snapshot([tmp_path]).get("example.dev/v1", "AllowList", "", "a") is not None


def test_no_files_know_nothing() -> None:
    assert read_snapshot([]).knows("v1", "Namespace") is False
    assert EMPTY.digest == ""


def test_it_is_as_old_as_its_oldest_file(tmp_path: Path) -> None:
    write(tmp_path, a=LIST, b=TYPED)
    os.utime(tmp_path / "a.yaml", (1_000, 1_000))
    assert read_snapshot([tmp_path]).taken_at == 1_000.0


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    one = read_snapshot([write(tmp_path, a=LIST)])
    assert one.digest == read_snapshot([tmp_path]).digest
    write(tmp_path, a=LIST.replace("prod", "test"))
    assert read_snapshot([tmp_path]).digest != one.digest
    assert len(one.digest) == 16


def test_all_problems_at_once_and_no_half_snapshot(tmp_path: Path) -> None:
    write(tmp_path, a="a: [", b="just text", c="apiVersion: v1\nkind: Secret\nmetadata: {}", d=LIST)
    with pytest.raises(InvalidInput) as caught:
        read_snapshot([tmp_path, tmp_path / "missing.yaml"])
    texts = [str(problem) for problem in caught.value.problems]
    assert len(texts) == 4
    assert "a.yaml:2:1: not YAML" in texts[0]
    assert "expected a Kubernetes object" in texts[1]
    assert "expected metadata.name" in texts[2]
    assert "no such file" in texts[3]


def test_a_bad_item_is_named(tmp_path: Path) -> None:
    write(tmp_path, a="apiVersion: v1\nkind: List\nitems: [5]")
    with pytest.raises(InvalidInput, match=r"items\[0\]: expected a Kubernetes object"):
        read_snapshot([tmp_path])


def test_later_duplicates_win() -> None:
    objects = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "n": n} for n in (1, 2)]
    node = snapshot(objects, taken_at=0.0).get("v1", "Node", "", "n")
    assert node is not None
    assert node["n"] == 2
