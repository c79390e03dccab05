"""`wouldblock webhook-config`, as it is typed."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from webhook.cli import main
from webhook_certs.issue import issue

POLICY = """\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: named
spec:
  matchConstraints:
    resourceRules:
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [CREATE]
        resources: [RESOURCE]
  validations:
    - expression: "true"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: named
spec:
  policyName: named
  validationActions: [Warn, Audit]
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A file with one policy on Services; what it is on can be replaced."""
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY.replace("RESOURCE", "services"))
    return file


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    issue(tmp_path / "certs")
    return tmp_path / "certs"


def resources(configuration: dict[str, Any]) -> set[str]:
    return {each for hook in configuration["webhooks"] for rule in hook["rules"] for each in rule["resources"]}


def test_it_prints_what_the_shipped_policies_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["webhook-config"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("# Made by `wouldblock webhook-config`")
    assert {"pods", "pods/ephemeralcontainers", "deployments", "cronjobs"} <= resources(yaml.safe_load(said))
    assert "&" not in said, "no aliases"


def test_other_policies_need_other_rules(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["webhook-config", "--policies", str(policy), "--output", "json"]) == 0
    assert "services" in resources(json.loads(capsys.readouterr().out))


def test_the_ca_is_put_in(certs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["webhook-config", "--ca-file", str(certs / "ca.crt"), "--output", "json"]) == 0
    (hook, *_) = json.loads(capsys.readouterr().out)["webhooks"]
    assert base64.b64decode(hook["clientConfig"]["caBundle"]) == (certs / "ca.crt").read_bytes()


@pytest.mark.parametrize(
    ("name", "says"), [("ca.key", "holds a private key"), ("tls.crt", "that is no CA"), ("none", "none: no such file")]
)
def test_what_is_no_ca_is_refused(certs: Path, name: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["webhook-config", "--ca-file", str(certs / name)]) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert said.out == ""
    assert "BEGIN" not in said.err


def test_the_guard_is_two_objects(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["webhook-config", "--guard"]) == 0
    assert [each["kind"] for each in yaml.safe_load_all(capsys.readouterr().out)] == [
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ]
    assert main(["webhook-config", "--guard", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "List"


def test_a_policy_on_everything_is_refused_by_name_and_place(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy.write_text(POLICY.replace("RESOURCE", '"*"'))
    assert main(["webhook-config", "--policies", str(policy)]) == 2
    said = capsys.readouterr()
    assert "policy.yaml: spec.matchConstraints.resourceRules[0]: policy named: resources *:" in said.err
    assert "name each one" in said.err
    assert said.out == ""


def test_a_broken_policy_is_refused(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy.write_text(POLICY.replace('"true"', '"object.("'))
    assert main(["webhook-config", "--policies", str(policy)]) == 2
    assert "policy.yaml" in capsys.readouterr().err


@pytest.fixture
def written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A file that has not drifted."""
    main(["webhook-config"])
    file = tmp_path / "written.yaml"
    file.write_text(capsys.readouterr().out)
    return file


def test_check_is_content_with_what_it_would_print(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["webhook-config", "--check", str(written)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("failurePolicy: Ignore", "failurePolicy: Fail"),
        ("timeoutSeconds: 2", "timeoutSeconds: 3"),
        ("          - pods\n", "          - pods\n          - secrets\n"),
        ("          - pods\n", ""),
        ("name: check.wouldblock.dev", "name: check.wouldblock.example"),
        ("kind: ValidatingWebhookConfiguration", "kind: ConfigMap"),
    ],
)
def test_check_shows_what_has_drifted(written: Path, old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = written.read_text()
    assert old in text
    written.write_text(text.replace(old, new, 1))
    assert main(["webhook-config", "--check", str(written)]) == 1
    said = capsys.readouterr()
    assert said.out.startswith(f"--- {written}\n")
    assert "has drifted" in said.err


def test_check_reads_what_a_cluster_has(
    written: Path, certs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server's and kubectl's own fields are no drift; the CA is only compared with one that is given."""
    live = yaml.safe_load(written.read_text())
    live["metadata"] |= {
        "uid": "u",
        "resourceVersion": "1",
        "generation": 2,
        "creationTimestamp": "2026-11-24T12:00:00Z",
        "managedFields": [{}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    }
    for hook in live["webhooks"]:
        hook["clientConfig"]["caBundle"] = base64.b64encode((certs / "ca.crt").read_bytes()).decode()

    def check(*arguments: str) -> int:
        monkeypatch.setattr(sys, "stdin", io.StringIO(yaml.safe_dump(live)))
        return main(["webhook-config", "--check", "-", *arguments])

    assert check() == 0
    assert check("--ca-file", str(certs / "ca.crt")) == 0
    issue(certs, new_ca=True)
    assert check("--ca-file", str(certs / "ca.crt")) == 1


def test_check_reads_a_guard_that_a_cluster_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["webhook-config", "--guard", "--output", "json"])
    live = json.loads(capsys.readouterr().out)
    assert live["kind"] == "List"
    live["items"][0]["status"] = {"observedGeneration": 1}
    monkeypatch.setattr(sys, "stdin", io.StringIO(yaml.safe_dump(live)))
    assert main(["webhook-config", "--guard", "--check", "-"]) == 0


@pytest.mark.parametrize("text", ["", "a: [", "just text", "- 1"])
def test_check_of_something_else_is_an_error(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.yaml").write_text(text)
    assert main(["webhook-config", "--check", str(tmp_path / "other.yaml")]) == 2
    assert "other.yaml" in capsys.readouterr().err


def test_help_teaches_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["webhook-config", "--help"])
    assert "  wouldblock webhook-config --ca-file" in capsys.readouterr().out
