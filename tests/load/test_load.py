"""Files → set: good policies come through whatever stands beside them, and every problem has its place."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from benchmarks import policies
from webhook import manifest
from webhook.errors import UserError
from webhook.load import load, read, shipped
from webhook.manifest.fields import PolicySpec
from webhook.native.pod_security import PodSecurityConfig
from webhook.state import snapshot

POLICY = """\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {name}
  annotations: {{wouldblock.dev/default: "{default}"}}
spec:
  matchConstraints:
    resourceRules:
    - {{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}}
  validations:
  - expression: "{expression}"
"""
BINDING = """\
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {name}}}
spec: {{policyName: {policy}, validationActions: [{action}]}}
"""


def policy(name: str, expression: str = "true", *, default: str = "on", bound: bool = True) -> str:
    text = POLICY.format(name=name, expression=expression, default=default)
    return text + BINDING.format(name=name, policy=name, action="Warn") if bound else text


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_sorted_by_id_across_files(tmp_path: Path) -> None:
    write(tmp_path, one=policy("zebra") + "---\n" + policy("ant"), two=policy("mole"))
    assert [each.id for each in read([tmp_path]).policies] == ["ant", "mole", "zebra"]


def test_pod_security_comes_first(tmp_path: Path) -> None:
    loaded = load([write(tmp_path, a=policy("ant"))])
    assert [each.id for each in loaded.policies] == ["pod-security-baseline", "pod-security-restricted", "ant"]
    assert [each.id for each in load([tmp_path], pod_security=None).policies] == ["ant"]


def test_pod_security_that_cannot_be_right_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Pod Security version"):
        load([tmp_path], pod_security=PodSecurityConfig(version="newest"))


def test_a_broken_policy_does_not_keep_the_good_ones_out(tmp_path: Path) -> None:
    write(tmp_path, bad=policy("bad", "object.spec.x"), good=policy("good"), junk="a: [", text="just text")
    loaded = load([tmp_path], pod_security=None)
    assert [each.id for each in loaded.policies] == ["good"]
    assert [(Path(each.file).name, each.policy) for each in loaded.broken] == [
        ("junk.yaml", ""),
        ("text.yaml", ""),
        ("bad.yaml", "bad"),
    ]


def test_a_compile_error_has_line_column_and_caret(tmp_path: Path) -> None:
    text = policy("bad", "@").replace('"@"', ">-\n      object.kind == 'Pod' &&\n      nope(object)")
    (problem,) = read([write(tmp_path, bad=text)]).problems
    assert (problem.line, problem.column) == (13, 11)
    assert problem.path == "spec.validations[0].expression"
    assert str(problem).splitlines()[1:] == [
        "  | object.kind == 'Pod' && nope(object)",
        "  | ............................^",
    ]


def test_all_problems_of_a_policy_at_once(tmp_path: Path) -> None:
    text = policy("bad", "1 +").replace("operations: [CREATE]", "operations: [PATCH]")
    assert [problem.path for problem in read([write(tmp_path, bad=text)]).problems] == [
        "spec.matchConstraints.resourceRules[0].operations[0]",
        "spec.validations[0].expression",
    ]


def test_a_policy_without_binding_does_nothing(tmp_path: Path) -> None:
    loaded = read([write(tmp_path, lonely=policy("lonely", bound=False))])
    assert (loaded.policies, loaded.problems) == ((), ())
    assert [(note.policy, "no binding" in note.message) for note in loaded.notes] == [("lonely", True)]


def test_a_policy_without_binding_is_checked_all_the_same(tmp_path: Path) -> None:
    assert len(read([write(tmp_path, lonely=policy("lonely", "1", bound=False))]).problems) == 1


def test_a_binding_of_nothing_is_a_note(tmp_path: Path) -> None:
    text = BINDING.format(name="b", policy="gone", action="Warn")
    assert "names a policy that is not here" in read([write(tmp_path, b=text)]).notes[0].message


def test_a_broken_binding_breaks_its_policy(tmp_path: Path) -> None:
    """With one binding less the policy would say less than on a server."""
    text = policy("half") + BINDING.format(name="second", policy="half", action="Block")
    loaded = read([write(tmp_path, a=text, b=policy("whole"))])
    assert [each.id for each in loaded.policies] == ["whole"]
    assert [problem.policy for problem in loaded.problems] == ["half"]


def test_binding_policy_and_params_may_stand_in_different_files(tmp_path: Path) -> None:
    binding = BINDING.format(name="b", policy="split", action="Warn")
    write(tmp_path, a_binding=binding, z_policy=policy("split", bound=False))
    assert [each.bindings for each in read([tmp_path]).policies] == [("b",)]


def test_names_are_taken_once(tmp_path: Path) -> None:
    loaded = read([write(tmp_path, a=policy("twin"), b=policy("twin", "false"))])
    assert [each.id for each in loaded.policies] == ["twin"]
    assert "taken by" in loaded.problems[0].message
    assert "a.yaml:1" in loaded.problems[0].message


def test_the_first_binding_of_a_name_stays(tmp_path: Path) -> None:
    again = BINDING.format(name="one", policy="other", action="Audit")
    loaded = read([write(tmp_path, a=policy("one"), b=again)])
    assert [each.bindings for each in loaded.policies] == [("one",)]
    assert ["taken by" in problem.message for problem in loaded.problems] == [True]


def test_a_bug_of_the_compiler_costs_one_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = manifest.build

    def failing(spec: PolicySpec, *arguments: Any, **more: Any) -> Any:
        if spec.id == "unlucky":
            raise RecursionError
        return build(spec, *arguments, **more)

    monkeypatch.setattr(manifest, "build", failing)
    loaded = read([write(tmp_path, a=policy("unlucky"), b=policy("lucky"))])
    assert [each.id for each in loaded.policies] == ["lucky"]
    assert [(each.policy, "RecursionError" in each.message) for each in loaded.problems] == [("unlucky", True)]


def test_a_name_of_our_own_is_taken(tmp_path: Path) -> None:
    loaded = load([write(tmp_path, a=policy("pod-security-baseline"))])
    assert [each.source for each in loaded.policies] == ["pod-security", "pod-security"]
    assert "a policy of wouldblock itself" in loaded.broken[0].message


def test_off_by_default_unless_asked_for(tmp_path: Path) -> None:
    write(tmp_path, off=policy("quiet", default="off"), on=policy("loud"))
    assert [each.id for each in read([tmp_path]).policies] == ["loud"]
    assert [note.policy for note in read([tmp_path]).notes] == ["quiet"]
    for enable in (["quiet"], ["all"]):
        assert [each.id for each in read([tmp_path], enable=enable).policies] == ["loud", "quiet"]
    assert [each.id for each in read([tmp_path / "off.yaml"]).policies] == ["quiet"]
    both = read([tmp_path, tmp_path / "off.yaml"])
    assert ([each.id for each in both.policies], both.problems) == (["loud", "quiet"], ())


def test_a_list_as_kubectl_get_writes_it(tmp_path: Path) -> None:
    documents = policy("listed", "1").split("---\n")
    items = "".join("- " + "\n  ".join(each.strip().splitlines()) + "\n" for each in documents)
    write(tmp_path, all=f"apiVersion: v1\nkind: List\nitems:\n{items}")
    (problem,) = read([tmp_path]).problems
    assert (problem.policy, problem.line) == ("listed", 14)


def test_other_objects_are_none_of_our_business(tmp_path: Path) -> None:
    write(
        tmp_path,
        a=policy("a"),
        kustomization="apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\n",
        deployment="apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n",
        empty="",
    )
    (tmp_path / "README.md").write_text("not YAML: [")
    (tmp_path / "a.cases.yaml").write_text("cases: [")
    loaded = read([tmp_path])
    assert (len(loaded.policies), loaded.problems) == (1, ())


def test_params_of_the_folder_and_the_snapshot_enter_the_digest(tmp_path: Path) -> None:
    text = policy("p", "params.data.x == '1'").replace(
        "spec:\n  match", "spec:\n  paramKind: {apiVersion: v1, kind: ConfigMap}\n  match"
    )
    text = text.replace("[Warn]}", "[Warn], paramRef: {name: c, namespace: ns, parameterNotFoundAction: Deny}}")
    write(tmp_path, p=text)
    held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "ns"}, "data": {"x": "1"}}
    (bare,) = read([tmp_path]).policies
    (with_state,) = read([tmp_path], state=snapshot([held], taken_at=0.0)).policies
    write(tmp_path, c="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: ns}\ndata: {x: '1'}\n")
    (with_folder,) = read([tmp_path]).policies
    assert bare.digest != with_state.digest == with_folder.digest


def test_the_shipped_set_is_whole() -> None:
    loaded = read(shipped())
    assert loaded.problems == ()
    # With what is off unless it is asked for.
    every = read(shipped(), enable=["all"])
    assert (every.problems, every.notes) == ((), ())
    assert len(every.policies) >= 30
    assert {note.policy for note in loaded.notes} == {policy.id for policy in every.policies} - {
        policy.id for policy in loaded.policies
    }


def test_files_are_let_go_of_while_policies_are_built(tmp_path: Path) -> None:
    """What loading a set takes for a moment stays with the process: it is little more than the set itself."""
    policies.write(tmp_path, 100)
    read([tmp_path])  # what is made once for all sets
    tracemalloc.start()
    try:
        loaded = read([tmp_path])
        gc.collect()
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(loaded.policies) == 100
    assert most < 1.6 * kept, f"{kept=} {most=}"
