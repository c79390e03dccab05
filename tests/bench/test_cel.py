"""The race of CEL implementations: equal questions, equal answers, and a block that says what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cel, cel_race, cel_reviews, table
from benchmarks.cel_engines import ENGINES, OWN, answers
from benchmarks.cel_expressions import pairs
from benchmarks.cel_objects import SIZES, deployments, size, update
from benchmarks.cel_race import Race, Times
from benchmarks.cel_reviews import Codec, Growth, Load, Reviews
from webhook import review


def test_there_are_a_hundred_different_questions() -> None:
    assert len(pairs()) == 100
    assert len({each.cel for each in pairs()}) == 100


def test_the_objects_have_their_sizes() -> None:
    sizes = [size(each) / 1e3 for each in deployments().values()]
    assert [round(each / limit) for each, limit in zip(sizes, (2.5, 10, 150), strict=True)] == [1, 1, 1]
    assert deployments() == deployments()
    assert 9_000 < len(update()) < 13_000
    assert review.decode(update()).request.operation == "UPDATE"


@pytest.mark.parametrize("name", OWN)
def test_every_engine_of_ours_gives_the_answers_of_the_hand(name: str) -> None:
    engine = ENGINES[name]()
    for value in deployments().values():
        by_hand = [each.hand(value) for each in pairs()]
        assert {type(each) for each in by_hand} == {bool}
        assert answers(engine, engine.take(value)) == by_hand
    assert 50 < sum(by_hand) < 100


def test_small_changes_of_an_object_change_the_same_answers() -> None:
    """The pairs are equal where it matters, not only on the objects that are timed."""
    engine = ENGINES["compiled"]()
    value = deployments()[SIZES[0]]
    seen = {index: {each.hand(value)} for index, each in enumerate(pairs())}
    for changed in _changed(value):
        by_hand = [each.hand(changed) for each in pairs()]
        assert answers(engine, engine.take(changed)) == by_hand
        for index, answer in enumerate(by_hand):
            seen[index].add(answer)
    assert sum(len(each) == 2 for each in seen.values()) > 60


def _changed(value: dict[str, Any]) -> list[dict[str, Any]]:
    found = []

    def change(path: str, new: Any) -> None:
        copy = json.loads(json.dumps(value))
        node = copy
        *steps, last = path.split("/")
        for step in steps:
            node = node[int(step) if isinstance(node, list) else step]
        if new is None:
            node.pop(last, None)
        else:
            node[int(last) if isinstance(node, list) else last] = new
        found.append(copy)

    other: Any
    pod, one = "spec/template/spec", "spec/template/spec/containers/0"
    change(f"{one}/image", "docker.io/nginx:latest")
    change(f"{one}/image", "busybox")
    change(f"{one}/image", "registry.example.com/a@sha256:" + "a" * 64)
    change(f"{one}/imagePullPolicy", "Never")
    change(f"{one}/name", "istio-proxy")
    for field, new in (
        ("privileged", True),
        ("readOnlyRootFilesystem", True),
        ("runAsUser", 0),
        ("runAsUser", 20_000),
        ("procMount", "Unmasked"),
        ("capabilities", {"add": ["SYS_ADMIN"], "drop": ["ALL"]}),
        ("seccompProfile", {"type": "Unconfined"}),
    ):
        change(f"{one}/securityContext", {field: new, "runAsNonRoot": True, "allowPrivilegeEscalation": False})
    for field in ("securityContext", "resources", "readinessProbe", "livenessProbe", "env", "ports", "volumeMounts"):
        change(f"{one}/{field}", None)
    change(f"{one}/resources", {"limits": {"memory": "1G", "nvidia.com/gpu": "1"}, "requests": {"cpu": "1"}})
    change(f"{one}/resources", {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"memory": "", "cpu": "1m"}})
    probe = {"httpGet": {"path": "x", "port": 1, "scheme": "FTP"}, "periodSeconds": 1, "failureThreshold": 1}
    change(f"{one}/livenessProbe", {**probe, "timeoutSeconds": 9})
    change(f"{one}/readinessProbe", probe)
    change(f"{one}/lifecycle", {"preStop": {"exec": {"command": []}}})
    change(f"{one}/env", [{"name": "DB_PASSWORD", "value": "AKIA"}, {"name": "LD_PRELOAD", "value": "x" * 5_000}])
    change(
        f"{one}/env",
        [{"name": f"HTTP_{n}-", "value": "", "valueFrom": {"secretKeyRef": {"name": ""}}} for n in range(60)],
    )
    change(f"{one}/args", ["--insecure-port=1"])
    change(f"{one}/envFrom", [{"secretRef": {"name": "x"}}])
    change(f"{one}/ports", [{"containerPort": 22, "hostPort": 22, "protocol": "SCTP"}, {"containerPort": 2375}])
    change(
        f"{one}/volumeMounts", [{"name": "none", "mountPath": "/etc/kubernetes", "mountPropagation": "Bidirectional"}]
    )
    change(f"{one}/volumeMounts", [{"name": "a", "mountPath": "/tmp"}, {"name": "b", "mountPath": "/tmp"}])
    volumes = [{"name": "a", "hostPath": {"path": "/var/run/docker.sock"}}, {"name": "b", "emptyDir": {}}]
    change(f"{pod}/volumes", [*volumes, {"name": "c", "secret": {"defaultMode": 511}}])
    for field, other in (
        ("hostNetwork", True),
        ("hostPID", True),
        ("automountServiceAccountToken", True),
        ("serviceAccountName", "default"),
        ("serviceAccountName", "-x"),
        ("terminationGracePeriodSeconds", 1),
        ("priorityClassName", "system-node-critical"),
        ("nodeName", "n"),
        ("tolerations", [{"operator": "Exists"}]),
        ("dnsPolicy", "Other"),
        ("nodeSelector", {"kubernetes.io/hostname": "n"}),
        ("affinity", {}),
        ("securityContext", {"seccompProfile": {"type": "RuntimeDefault"}}),
        ("initContainers", [{"name": "i", "image": "x:latest"}]),
    ):
        change(f"{pod}/{field}", other)
    change("metadata/labels", {"team": "none", "x": "a b" * 30})
    change("metadata/labels", None)
    change("metadata/annotations", {"seccomp.security.alpha.kubernetes.io/pod": "x"})
    change("metadata/name", "9")
    change("metadata/namespace", "default")
    change("spec/selector", {"matchLabels": {"no": "such"}})
    for field, new in (
        ("replicas", 1),
        ("replicas", 1_000),
        ("strategy", {"type": "Recreate"}),
        ("revisionHistoryLimit", 0),
        ("minReadySeconds", 600),
    ):
        change(f"spec/{field}", new)
    return found


def test_a_wrong_answer_stops_the_race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = {name: deployments()[SIZES[0]] for name in SIZES}
    file = tmp_path / "objects.json"
    file.write_text(json.dumps(objects))
    monkeypatch.setattr(cel_race, "SECONDS", 0.0)
    found = cel_race.race(objects, file, ("hand", "compiled"), rounds=1)
    assert set(found.times) == {"hand", "compiled"}
    assert found.ratio("hand", SIZES[0]) == 1.0

    class Liar(cel_race._Worker):
        def __init__(self, name: str, objects: Path) -> None:
            super().__init__(name, objects)
            if name != "hand":
                self.answers[SIZES[0]][7] = not self.answers[SIZES[0]][7]

    monkeypatch.setattr(cel_race, "_Worker", Liar)
    with pytest.raises(RuntimeError, match=r"compiled, .*: answers question \[7\] otherwise"):
        cel_race.race(objects, file, ("hand", "compiled"), rounds=1)


def test_what_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = {name: deployments()[SIZES[0]] for name in SIZES}
    file = tmp_path / "objects.json"
    file.write_text(json.dumps(objects))
    monkeypatch.setattr(cel_race, "SECONDS", 0.0)
    monkeypatch.setattr(cel_race, "FOREIGN", tmp_path / "none")
    assert cel_race.race(objects, file, ("hand", "rust"), rounds=1).absent == {"rust": "not installed: make bench-cel"}
    with pytest.raises(ValueError, match="no engine 'jq'"):
        cel.run(["jq"])


def test_the_block_and_its_place(tmp_path: Path) -> None:
    times = {
        name: {size: Times([1e-4, 2e-4], [1e-6], []) for size in SIZES} for name in ("hand", "policies", "cpp", "go")
    }
    times["cpp"] = {size: Times([1e-3, 4e-3], [3e-6], [2e-4]) for size in SIZES}
    race = Race(SIZES, times, {"rust": "not installed: make bench-cel"}, 14)
    counts = {"hand": dict.fromkeys(SIZES, 1_000_000), "policies": dict.fromkeys(SIZES, 1_250_000)}
    one = Codec(12_000, 15, 100.0, 300.0, 3.0)
    growth = [Growth(100, 0, 1.0), Growth(100, 900, 1.0), Growth(1000, 0, 10.0)]
    text = cel.render(race, counts, Reviews(one, one, Load(2.0, 40.0, 90.0), growth), dict.fromkeys(SIZES, 2_000))
    assert "| cel-cpp (cel-expr-python) | 1.0 ms | 15.00 |" in text
    assert "200 µs of its figure" in text
    assert "| 1.25 M | 1.25 |" in text
    assert "Not measured: Rust" in text
    readme = tmp_path / "README.md"
    readme.write_text("\n".join(table.markers("cel")))
    table.insert(text, "cel", readme)
    assert text in readme.read_text()


def test_whole_reviews_run_what_they_say() -> None:
    assert len(cel_reviews._policies("expressions").policies) == 100
    both = cel_reviews._policies("expressions", elsewhere=5)
    assert len(both.policies) == 105
