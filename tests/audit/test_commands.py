"""`wouldblock readiness` and `wouldblock promote` as people and pipelines use them."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from webhook import cli
from webhook.annotations import WEBHOOK_NAME
from webhook.policy import SetRecord

Any_ = Callable[..., Any]
NOW = "2026-11-16T00:30:00Z"
LOOSE = ("--min-window", "0", "--min-writes", "1")

POLICY = """\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: p}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  validations: [{expression: "object.spec.replicas > 1"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: p}
spec: {policyName: p, validationActions: [Audit]}
"""


class Setting:
    """A log, the manifest that explains it, and the command."""

    def __init__(self, folder: Path, log: Any, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.log = log
        self.file = folder / "audit.log"
        self.manifest = folder / "manifest.json"
        self.manifest.write_bytes(msgspec.json.encode(log.sets))
        self._capsys = capsys

    def save(self) -> None:
        self.file.write_bytes(b"\n".join(self.log.lines) + b"\n")

    def run(self, verb: str, *arguments: str | Path, known: bool = True) -> tuple[int, str, str]:
        flags: tuple[str | Path, ...] = ("--now", NOW, *(("--manifest", self.manifest) if known else ()))
        code = cli.main([verb, *map(str, arguments), *map(str, flags)])
        heard = self._capsys.readouterr()
        assert "Traceback" not in heard.err
        return code, heard.out, heard.err

    def readiness(self, *arguments: str | Path, known: bool = True) -> tuple[int, str, str]:
        return self.run("readiness", self.file, *arguments, known=known)


@pytest.fixture
def setting(tmp_path: Path, make_log: Any_, make_record: Any_, capsys: pytest.CaptureFixture[str]) -> Setting:
    return Setting(tmp_path, make_log(make_record("p", "q")), capsys)


@pytest.fixture
def good(setting: Setting) -> Setting:
    for number in range(60):
        setting.log.write(name=f"app-{number}", outcome=setting.log.outcome())
    setting.save()
    return setting


def test_exit_codes(good: Setting) -> None:
    code, out, _ = good.readiness()
    assert code == cli.FINE
    assert [line.split()[:3] for line in out.splitlines()] == [
        ["VERDICT", "POLICY", "NAMESPACE"],
        ["enforce", "p", "shop"],
        ["enforce", "q", "shop"],
    ]
    good.log.write("legacy", outcome=good.log.outcome("q"))
    good.save()
    code, out, _ = good.readiness()
    assert code == cli.FOUND
    assert "fix first" in out
    assert good.readiness("--namespace", "shop")[0] == cli.FINE
    assert good.readiness("--policy", "q", "--namespace", "legacy")[0] == cli.FOUND
    code, out, _ = good.readiness("--policy", "p", "--namespace", "shop", "--namespace", "unheard-of")
    assert code == cli.FOUND
    assert "0 of 0 writes reviewed" in out


def test_json_keys_are_stable(good: Setting) -> None:
    good.log.write(name="bad", outcome=good.log.outcome("p"))
    good.save()
    code, out, _ = good.readiness("--output", "json", "--policy", "p")
    assert code == cli.FOUND
    found = json.loads(out)
    assert set(found) == {"schema", "verdicts", "log"}
    assert set(found["log"]) == {
        "start",
        "end",
        "server_versions",
        "records",
        "unreadable",
        "cut_writes",
        "silences",
        "unknown_sets",
    }
    (row,) = found["verdicts"]
    assert row["upper_bound"] == pytest.approx(0.0754, abs=1e-4)
    del row["upper_bound"]
    assert row == {
        "policy": "p",
        "namespace": "shop",
        "version": "",
        "basis": "webhook",
        "verdict": "fix first",
        "condition": "open_violations",
        "reason": "1 workload would be denied as last written, last seen 2026-11-16: Deployment/bad",
        # In [start, end): the last write is in it.
        "window": {"start": "2026-11-01T00:00:00Z", "end": "2026-11-16T00:00:00Z", "seconds": 1_296_000},
        "writes": 61,
        "coverage": {"reviewed": 61, "of": 61, "share": 1.0},
        "gaps": dict.fromkeys(("failed_open", "incomplete", "truncated", "not_sent", "unknown_set", "unknown"), 0),
        "outside": {"rejected": 0, "dry_run": 0, "exempt_namespace": 0, "exempt": 0, "before_start": 0},
        "violations": 1,
        "errors": 0,
        "exempted": 0,
        "not_comparable": 0,
        "open": 1,
        "superseded": 0,
        "draining": 0,
        "changes": 61,
        "last_violation": {"time": "2026-11-16T00:00:00Z", "workload": "Deployment/bad"},
        "snapshots": [],
    }


def test_thresholds_and_window_are_flags(good: Setting) -> None:
    asked = ("--policy", "p")
    assert good.readiness(*asked, "--min-writes", "61")[0] == cli.FOUND
    assert good.readiness(*asked, "--min-window", "15d")[0] == cli.FOUND
    assert good.readiness(*asked, "--max-gap", "5h")[0] == cli.FOUND
    good.log.write(name="lost")
    good.save()
    assert good.readiness(*asked, "--min-coverage", "0.98")[0] == cli.FINE
    assert good.readiness(*asked, "--min-coverage", "0.99")[0] == cli.FOUND
    code, out, _ = good.readiness(
        *asked, *LOOSE, "--since", "2026-11-05T00:00:00Z", "--until", "5d", "--output", "json"
    )
    assert code == cli.FINE
    (row,) = json.loads(out)["verdicts"]
    assert row["window"]["start"] == "2026-11-05T00:00:00Z"
    assert row["window"]["end"] == "2026-11-11T00:30:00Z"
    assert row["writes"] == 25


def test_blind_spots_are_on_stderr(good: Setting) -> None:
    text = good.file.read_bytes() + b"garbage\n" + good.log.write(name="cut", outcome=good.log.outcome())[:-70]
    (good.folder / "other.log.gz").write_bytes(gzip.compress(text)[:-9])
    code, _, err = good.readiness(good.folder / "other.log.gz")
    assert code == cli.FOUND  # the cut write is a gap
    place = f"{good.folder / 'other.log.gz'} at byte"
    assert f"not read: 1 incomplete_gzip: {place}" in err
    assert f"not read: 1 not_audit_text: {place} {good.file.stat().st_size}" in err
    code, _, err = good.readiness("--manifest", good.folder / "other.json")
    assert code == cli.FAILED


def test_an_unknown_set_is_named(good: Setting, make_record: Any_) -> None:
    good.manifest.write_bytes(msgspec.json.encode(make_record("p", digest="another")))
    code, out, err = good.readiness()
    assert code == cli.FOUND
    assert "60 review(s) under the policy set 'set-1'" in err
    assert "wouldblock policies manifest" in err
    assert out.splitlines()[1].startswith("blind")


def test_several_manifests_are_an_archive(good: Setting, make_record: Any_) -> None:
    older = make_record("p", digest="older", versions={"p": "v0"})
    sets: list[SetRecord] = [older, good.log.sets, make_record("p", digest="never-used", versions={"p": "v9"})]
    for text in (msgspec.json.encode(sets), b"\n".join(map(msgspec.json.encode, sets))):
        good.manifest.write_bytes(text)
        assert good.readiness("--policy", "p")[0] == cli.FINE


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--policy", "unheard-of"), "there are p, pod-security-baseline, pod-security-restricted, q"),
        (("--since", "yesterday"), "--since 'yesterday' is no time"),
        (("--manifest", "/dev/null"), "policies manifest"),
        (("/does/not/exist",), "no such file"),
    ],
)
def test_what_the_user_got_wrong(good: Setting, arguments: tuple[str, ...], expected: str) -> None:
    code, out, err = good.readiness(*arguments)
    assert code == cli.FAILED
    assert out == ""
    assert expected in err


def test_no_event_at_all_is_an_error(setting: Setting) -> None:
    for text in (b"", b"garbage\n", b'{"kind":"AdmissionReview"}\n', b'{"kind": "Event",\n  "apiVersion": 1}\n'):
        setting.file.write_bytes(text)
        code, _, err = setting.readiness()
        assert code == cli.FAILED
        assert "no audit event found" in err
        assert str(setting.file) in err


def test_a_clock_that_is_behind_hides_nothing(good: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhook.cli.evidence.time.time_ns", lambda: 1_793_836_800_000_000_000)
    assert cli.main(["readiness", str(good.file), "--manifest", str(good.manifest), "--policy", "p"]) == cli.FINE
    assert cli.main(["readiness", str(good.file), "--manifest", str(good.manifest), "--now", "2026-11-05"]) == cli.FOUND


def test_standard_input(good: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(gzip.compress(good.file.read_bytes()))

    monkeypatch.setattr("sys.stdin", Stdin)
    assert good.run("readiness", "-", "--policy", "p")[0] == cli.FINE


def test_names_cannot_move_the_cursor(setting: Setting) -> None:
    evil = "x\x1b[2J\u202e\u200b\r\n"
    setting.log.write(evil, evil, outcome=setting.log.outcome("p"))
    evil_policy = json.dumps([{"policy": evil, "message": "m"}])
    notes = {"validation.policy.admission.k8s.io/validation_failure": evil_policy}
    setting.log.write("shop", evil, outcome=setting.log.outcome("p"), annotations=notes)
    group = "admissionregistration.k8s.io"
    setting.log.write("", evil, resource="validatingadmissionpolicies", group=group, user=evil)
    setting.save()
    for output in ("text", "json"):
        _, out, err = setting.readiness("--output", output, *LOOSE)
        text = out + err
        assert "x\\x1b[2J" in text or "x\\u001b[2J" in text
        assert all(c.isprintable() or c == "\n" for c in text)


def test_nothing_secret_comes_out(setting: Setting) -> None:
    body = {"kind": "Secret", "data": {"a": "SECRET-DATA"}, "metadata": {"annotations": {"x": "SECRET-NOTE"}}}
    setting.log.write(outcome=setting.log.outcome("p"), body=body)
    setting.log.write(outcome=setting.log.outcome("p"), body=body)
    setting.file.write_bytes(b"\n".join(setting.log.lines)[:-90])
    for output in ("text", "json"):
        _, out, err = setting.readiness("--output", output, *LOOSE)
        assert "Deployment/web" in out
        assert "SECRET" not in out + err


def test_native_without_anything_of_ours(setting: Setting) -> None:
    failure = json.dumps([{"policy": "theirs", "message": "m"}])
    notes = {"validation.policy.admission.k8s.io/validation_failure": failure}
    setting.log.write(annotations=notes)
    setting.save()
    code, out, _ = setting.readiness("--output", "json")
    assert code == cli.FOUND
    found = {row["policy"]: row for row in json.loads(out)["verdicts"]}
    assert found["theirs"]["basis"] == "native"
    assert "p" not in found
    # Another webhook's reviews are nothing of ours.
    setting.log.write(outcome=setting.log.outcome(), webhook="other.example.dev")
    setting.save()
    _, out, _ = setting.readiness("--output", "json")
    assert "p" not in {row["policy"] for row in json.loads(out)["verdicts"]}
    _, out, _ = setting.readiness("--output", "json", "--webhook-name", "other.example.dev")
    assert "p" in {row["policy"] for row in json.loads(out)["verdicts"]}


def test_native_verdicts_beside_our_own(good: Setting) -> None:
    """Pod Security is not in this set: it is only spoken of where the log has something to say."""
    assert good.readiness()[0] == cli.FINE
    violated = {"pod-security.kubernetes.io/audit-violations": 'would violate PodSecurity "restricted:latest": x (y)'}
    good.log.write("other", outcome=good.log.outcome(), annotations=violated)
    good.save()
    _, out, _ = good.readiness("--output", "json", *LOOSE)
    native = [(row["policy"], row["namespace"]) for row in json.loads(out)["verdicts"] if row["basis"] == "native"]
    assert native == [("pod-security-restricted", "other")]


def test_webhook_names(setting: Setting) -> None:
    setting.log.write(outcome=setting.log.outcome(), webhook="check.example.dev")
    setting.log.write(outcome=setting.log.outcome(), webhook="v2.check.example.dev")
    setting.save()
    _, out, _ = setting.readiness("--webhook-name", "check.example.dev", "--policy", "p", *LOOSE, "--output", "json")
    assert json.loads(out)["verdicts"][0]["coverage"] == {"reviewed": 2, "of": 2, "share": 1.0}


def test_namespaces_that_the_configuration_excludes(setting: Setting) -> None:
    config = setting.folder / "config.yaml"
    term = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}
    entry = {"name": WEBHOOK_NAME, "namespaceSelector": {"matchExpressions": [term]}}
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    config.write_text(yaml.safe_dump({**kind, "metadata": {"name": "wouldblock"}, "webhooks": [entry]}))
    setting.log.write(outcome=setting.log.outcome())
    setting.log.write("kube-system")
    setting.save()
    _, out, _ = setting.readiness("--namespace", "kube-system", "--webhook-config", config, "--output", "json")
    excluded = {row["policy"]: row["outside"]["exempt_namespace"] for row in json.loads(out)["verdicts"]}
    assert excluded == {"p": 1, "q": 1}


def test_progress_is_for_terminals(good: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    clock = iter(range(0, 10_000, 2))
    monkeypatch.setattr("webhook.cli.progress.time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("sys.stderr", terminal)
    cli.main(["readiness", str(good.file), "--manifest", str(good.manifest), "--now", NOW])
    assert "MB/s" in terminal.getvalue()
    assert "MB/s" not in good.readiness()[2]


# promote


@pytest.fixture
def policies(setting: Setting) -> Path:
    file = setting.folder / "p.yaml"
    file.write_text(POLICY)
    return file


def test_promote_where_it_is_safe(good: Setting, policies: Path) -> None:
    """The set is compiled here, and its digest is what the log has."""
    from webhook.load import load
    from webhook.native.pod_security import PodSecurityConfig
    from webhook.policyset import archive

    sets = archive(load([policies], pod_security=PodSecurityConfig()))
    good.log.sets = sets
    good.log.lines = []
    ids = {each.id for each in sets.policies}
    assert ids == {"p", "pod-security-baseline", "pod-security-restricted"}
    good.log.now -= 60 * good.log.step
    notes = (("pss", "restricted:latest/config"),)
    for number in range(60):
        good.log.write(name=f"app-{number}", outcome=good.log.outcome(notes=notes))
        bad = ["p", "pod-security-baseline"] if number == 0 else []
        at = good.log.now
        good.log.write("legacy", f"app-{number}", outcome=good.log.outcome(*bad, notes=notes), at=at)
    good.save()
    flags = ("--log", good.file, "--policies", policies)
    code, out, err = good.run("promote", "p", *flags, known=False)
    assert (code, "refused: p in legacy: fix first: 1 workload" in err) == (cli.FINE, True)
    _, binding = yaml.safe_load_all(out)
    terms = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert terms == [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"]}]
    assert out.startswith(
        "# p in shop: enforce: 0 of 60 changes open, 60 of 60 writes reviewed, 2026-11-01T00:00:00Z to"
    )

    code, out, err = good.run("promote", "p", *flags, "--namespace", "legacy", known=False)
    assert (code, out) == (cli.FOUND, "")
    assert "refused: p in legacy: fix first" in err
    code, out, _ = good.run("promote", "p", *flags, "--namespace", "legacy", "--force", known=False)
    assert code == cli.FINE
    _, binding = yaml.safe_load_all(out)
    terms = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert terms[0]["values"] == ["legacy"]

    code, out, err = good.run("promote", "pod-security-baseline", *flags, known=False)
    assert code == cli.FAILED
    assert "--server-version" in err
    code, out, _ = good.run("promote", "pod-security-baseline", *flags, "--server-version", "v1.36", known=False)
    assert code == cli.FINE
    (only,) = yaml.safe_load_all(out)
    assert only["metadata"] == {
        "name": "shop",
        "labels": {
            "pod-security.kubernetes.io/enforce": "baseline",
            "pod-security.kubernetes.io/enforce-version": "v1.36",
        },
    }
    # Both levels: restricted includes baseline.
    both = ("promote", "pod-security-restricted", "pod-security-baseline")
    _, out, _ = good.run(*both, *flags, "--server-version", "v1.36", "--namespace", "shop", known=False)
    (only,) = yaml.safe_load_all(out)
    assert only["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_promote_refuses_another_version_of_the_policy(good: Setting, policies: Path) -> None:
    """The log and its manifest are about `p` of digest v1; the file that would be applied is something else."""
    code, out, err = good.run("promote", "p", "--log", good.file, "--policies", policies)
    assert (code, out) == (cli.FOUND, "")
    assert "not the version that the evidence is about" in err


def test_promote_never_weakens_a_namespace(setting: Setting, make_log: Any_, make_record: Any_) -> None:
    log = setting.log = make_log(make_record("pod-security-baseline"))
    setting.manifest.write_bytes(msgspec.json.encode(log.sets))
    enforced = {"pod-security.kubernetes.io/enforce-policy": "restricted:latest"}
    outcome = log.outcome(notes=(("pss", "restricted:v1.36/label"),))
    for number in range(40):
        log.write(name=f"app-{number}", outcome=outcome, annotations=enforced)
    setting.save()
    asked = ("promote", "pod-security-baseline", "--log", setting.file, *LOOSE)
    code, out, err = setting.run(*asked)
    assert (code, out) == (cli.FOUND, "")
    assert "baseline would be weaker" in err
    code, out, _ = setting.run(*asked, "--force", "--namespace", "shop")
    assert code == cli.FINE
    assert yaml.safe_load(out)["metadata"]["labels"]["pod-security.kubernetes.io/enforce-version"] == "v1.36"


def test_promote_needs_every_version_to_be_proven(setting: Setting, make_log: Any_, make_record: Any_) -> None:
    """A namespace whose standard was changed has two verdicts."""
    log = setting.log = make_log(make_record("pod-security-baseline"))
    setting.manifest.write_bytes(msgspec.json.encode(log.sets))
    log.write(name="old", outcome=log.outcome("pod-security-baseline", notes=(("pss", "baseline:v1.30/label"),)))
    for number in range(40):
        log.write(name=f"app-{number}", outcome=log.outcome(notes=(("pss", "baseline:v1.36/label"),)))
    setting.save()
    code, out, err = setting.run("promote", "pod-security-baseline", "--log", setting.file, *LOOSE)
    assert (code, out) == (cli.FOUND, "")
    assert "refused: pod-security-baseline@v1.30 in shop: fix first" in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("p", "--force"), "--force needs --namespace"),
        (("p",), "--log is missing"),
        (("p", "--force", "--namespace", "a", "--server-version", "latest"), "expected v1.N"),
        (("unheard-of", "--force", "--namespace", "a"), "no manifest of 'unheard-of'"),
        (("pod-security-privileged", "--force", "--namespace", "a"), "there are pod-security-baseline"),
    ],
)
def test_promote_misused(setting: Setting, arguments: tuple[str, ...], expected: str) -> None:
    code, out, err = setting.run("promote", *arguments)
    assert (code, out) == (cli.FAILED, "")
    assert expected in err


def test_progress_says_bytes_rate_and_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from webhook.cli.progress import Progress

    log = tmp_path / "audit.log"
    with log.open("wb") as file:
        file.truncate(400_000_000)
    clock = iter([0.0, 0.1, 2.0, 4.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress([str(log)]) as shown:
        shown("", 1_000_000)
        shown("", 100_000_000)
        shown("", 200_000_000)
    _, err = capsys.readouterr()
    assert "read 100 of 400 MB, 50 MB/s, 6 s left" in err
    assert "read 200 of 400 MB, 50 MB/s, 4 s left" in err
    assert err.endswith("\r\x1b[K")
