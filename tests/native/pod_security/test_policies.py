"""The two policies on whole reviews: what is evaluated, who is exempt, which level is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhook.errors import DeadlineExceeded, UserError
from webhook.native.pod_security import PodSecurityConfig, admission, evaluate, policies
from webhook.native.pod_security.registry import RUNS
from webhook.native.pod_security.screen import EVERYTHING
from webhook.policy import Context, Finding, Severity, Verdict
from webhook.policyset import PolicySet
from webhook.review import NULL, GroupVersionKind, GroupVersionResource, Request, UserInfo
from webhook.state import EMPTY, State, snapshot
from webhook.workload import TEMPLATE_PATH

PRIVILEGED: dict[str, Any] = {
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "a", "image": "i", "securityContext": {"privileged": True}}]},
}
BASELINE_TEXT = (
    'would violate PodSecurity "baseline:latest": privileged (container "a" must not set'
    " securityContext.privileged=true)"
)
RESOURCES = {
    "Pod": ("", "pods"),
    "PodTemplate": ("", "podtemplates"),
    "ReplicationController": ("", "replicationcontrollers"),
    "ReplicaSet": ("apps", "replicasets"),
    "Deployment": ("apps", "deployments"),
    "StatefulSet": ("apps", "statefulsets"),
    "DaemonSet": ("apps", "daemonsets"),
    "Job": ("batch", "jobs"),
    "CronJob": ("batch", "cronjobs"),
}


def raw(obj: Any) -> msgspec.Raw:
    return NULL if obj is None else msgspec.Raw(msgspec.json.encode(obj))


def request(
    obj: Any, kind: str = "Pod", operation: str = "CREATE", old: Any = None, subresource: str = "", **more: Any
) -> Request:
    group, resource = RESOURCES[kind]
    return Request(
        uid="u",
        kind=GroupVersionKind(group, "v1", kind),
        resource=GroupVersionResource(group, "v1", resource),
        sub_resource=subresource,
        namespace=more.pop("namespace", "shop"),
        operation=operation,  # type: ignore[arg-type]
        object=raw(obj),
        old_object=raw(old),
        **more,
    )


def context(asked: Request, state: State = EMPTY) -> Context:
    return Context(asked, state=state, clock=lambda: 0.0, deadline=1.0)


def run(asked: Request, state: State = EMPTY, **config: Any) -> tuple[Verdict | None, Verdict | None]:
    """(baseline, restricted) of one review."""
    shared = context(asked, state)
    baseline, restricted = policies(PodSecurityConfig(**config))
    return baseline.run(shared), restricted.run(shared)


def shown(verdicts: tuple[Verdict | None, ...]) -> list[Finding]:
    return [finding for verdict in verdicts if verdict for finding in verdict.findings if finding.warn]


def namespace(**labels: str) -> State:
    prefixed = {f"pod-security.kubernetes.io/{key.replace('_', '-')}": value for key, value in labels.items()}
    return snapshot(
        [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": prefixed}}], taken_at=1.0
    )


def test_both_levels_answer_and_one_is_shown() -> None:
    baseline, restricted = run(request(PRIVILEGED))
    assert baseline is not None
    assert restricted is not None
    assert baseline.findings == (
        Finding(
            policy="pod-security-baseline",
            message=BASELINE_TEXT,
            severity=Severity.CRITICAL,
            verbatim=True,
            warn=False,
            keys=("privileged",),
        ),
    )
    (finding,) = restricted.findings
    assert finding.warn
    assert finding.message.startswith('would violate PodSecurity "restricted:latest": privileged (')
    assert finding.keys == (
        "privileged",
        "allowPrivilegeEscalation",
        "capabilities_restricted",
        "runAsNonRoot",
        "seccompProfile_restricted",
    )
    assert baseline.notes == (("pss", "restricted:latest/config"),)
    assert restricted.notes == ()


@pytest.mark.parametrize("kind", RESOURCES)
def test_every_kind_with_a_pod_is_evaluated(kind: str) -> None:
    obj: Any = PRIVILEGED
    for step in reversed(TEMPLATE_PATH[kind]):
        obj = {step: obj}
    for operation in ("CREATE", "UPDATE"):
        asked = request(obj, kind, operation, old={} if operation == "UPDATE" else None)
        baseline, restricted = run(asked)
        assert baseline is not None
        assert baseline.findings[0].message == BASELINE_TEXT
        assert restricted is not None
        assert len(PolicySet(policies(PodSecurityConfig())).candidates(asked)) == 2


def test_a_controllers_update_is_always_evaluated() -> None:
    obj = {"spec": {"template": PRIVILEGED}}
    assert run(request(obj, "Deployment", "UPDATE", old=obj))[0] is not None


def image(name: str, **more: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "a", "image": name}], **more}}


OLD = image("i:1", initContainers=[{"name": "b", "image": "j"}], ephemeralContainers=[{"name": "e", "image": "d"}])


@pytest.mark.parametrize(
    ("new", "evaluated"),
    [
        (OLD, False),
        (OLD | {"metadata": {"labels": {"a": "b"}}}, False),
        (msgspec.json.decode(msgspec.json.encode(OLD).replace(b"i:1", b"i:2")), True),
        (msgspec.json.decode(msgspec.json.encode(OLD).replace(b'"j"', b'"k"')), True),
        (msgspec.json.decode(msgspec.json.encode(OLD).replace(b'"d"', b'"f"')), True),
        ({"spec": OLD["spec"] | {"initContainers": []}}, True),
        ({"spec": OLD["spec"] | {"containers": [*OLD["spec"]["containers"], {"name": "z", "image": "i:1"}]}}, True),
        ({"spec": OLD["spec"] | {"ephemeralContainers": []}}, False),
        ({"spec": OLD["spec"] | {"ephemeralContainers": [{"name": "e", "image": "d"}, {"name": "f"}]}}, True),
        ({"spec": OLD["spec"] | {"hostNetwork": True}}, False),
    ],
)
@pytest.mark.parametrize("subresource", ["", "ephemeralcontainers", "resize"])
def test_a_pods_update_is_evaluated_when_containers_or_images_change(
    new: Any, evaluated: bool, subresource: str
) -> None:
    verdicts = run(request(new, operation="UPDATE", old=OLD, subresource=subresource))
    assert [verdict is not None for verdict in verdicts] == [evaluated, evaluated]


def test_the_old_object_alone_can_be_asked() -> None:
    old = image("i:1") | {"metadata": {}}
    asked = context(request(image("i:2"), operation="UPDATE", old=old))
    _, restricted = policies(PodSecurityConfig())
    verdict = restricted.run(asked.of_old_object())
    assert verdict is not None
    assert verdict.findings


@pytest.mark.parametrize(
    "asked",
    [
        request(None, operation="DELETE", old=PRIVILEGED),
        request({"kind": "PodExecOptions"}, operation="CONNECT", subresource="exec"),
        *(
            request(PRIVILEGED, operation=operation, old=None, subresource=subresource)
            for operation in ("CREATE", "UPDATE")
            for subresource in ("exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status")
        ),
        request({"spec": {"template": PRIVILEGED}}, "Deployment", "UPDATE", subresource="scale"),
        request({"spec": {"template": PRIVILEGED}}, "Deployment", "UPDATE", subresource="status"),
        request({"spec": {"template": PRIVILEGED}}, "Job", "UPDATE", subresource="resize"),
    ],
    ids=lambda asked: f"{asked.operation} {asked.resource.resource}/{asked.sub_resource}",
)
def test_what_pod_security_does_not_look_at(asked: Request) -> None:
    assert run(asked) == (None, None)
    assert PolicySet(policies(PodSecurityConfig())).candidates(asked) == ()


def test_a_custom_resource_of_the_same_name_is_none_of_its_business() -> None:
    asked = msgspec.structs.replace(request(PRIVILEGED), resource=GroupVersionResource("example.com", "v1", "pods"))
    assert run(asked) == (None, None)
    assert PolicySet(policies(PodSecurityConfig())).candidates(asked) == ()


@pytest.mark.parametrize(
    ("exempt", "change"),
    [
        ({"exempt_usernames": ("ann",)}, {"user_info": UserInfo(username="ann")}),
        ({"exempt_namespaces": ("kube-system",)}, {"namespace": "kube-system"}),
    ],
)
def test_exemptions(exempt: dict[str, Any], change: dict[str, Any]) -> None:
    asked = request(PRIVILEGED, **change)
    assert run(asked, **exempt) == (None, None)
    assert None not in run(request(PRIVILEGED), **exempt)
    assert None not in run(asked)


def test_an_exempt_runtime_class() -> None:
    obj = {"spec": PRIVILEGED["spec"] | {"runtimeClassName": "kata"}}
    assert run(request(obj), exempt_runtime_classes=("kata",)) == (None, None)
    assert None not in run(request(obj), exempt_runtime_classes=("runsc",))
    assert None not in run(request(PRIVILEGED), exempt_runtime_classes=("kata",))


@pytest.mark.parametrize(
    ("state", "config", "level", "note"),
    [
        (EMPTY, {}, "restricted", "restricted:latest/config"),
        (EMPTY, {"level": "baseline", "version": "v1.30"}, "baseline", "baseline:v1.30/config"),
        (EMPTY, {"level": "privileged"}, None, "privileged:latest/config"),
        (namespace(), {}, "restricted", "restricted:latest/config"),
        (namespace(warn="baseline"), {}, "baseline", "baseline:latest/label"),
        (namespace(warn="privileged"), {}, None, "privileged:latest/label"),
        (namespace(warn="nonsense"), {}, None, "privileged:latest/label"),
        (namespace(enforce="restricted"), {"level": "baseline"}, "restricted", "restricted:latest/label"),
        (namespace(audit_version="v1.30"), {}, "restricted", "restricted:v1.30/label"),
    ],
)
def test_labels_decide_where_they_are_known(state: State, config: dict[str, Any], level: str | None, note: str) -> None:
    verdicts = run(request(PRIVILEGED), state, **config)
    assert [finding.policy for finding in shown(verdicts)] == ([f"pod-security-{level}"] if level else [])
    assert all(verdict and verdict.findings for verdict in verdicts)
    assert verdicts[0] is not None
    assert verdicts[0].notes == (("pss", note),)


def test_another_namespaces_labels_do_not_count() -> None:
    verdicts = run(request(PRIVILEGED, namespace="other"), namespace(warn="baseline"))
    assert verdicts[0] is not None
    assert verdicts[0].notes == (("pss", "restricted:latest/config"),)


def test_the_version_decides_what_is_checked_and_how_it_is_named() -> None:
    obj = {"spec": {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}]}}}

    def text(**config: Any) -> list[str]:
        baseline, _ = run(request(obj), **config)
        assert baseline is not None
        return [finding.message for finding in baseline.findings]

    assert text() == []
    assert text(version="v1.99") == []
    assert text(version="v1.31") == [
        'would violate PodSecurity "baseline:v1.31": forbidden sysctls (net.ipv4.tcp_rmem)'
    ]
    assert text(server_minor=31) == [
        'would violate PodSecurity "baseline:latest": forbidden sysctls (net.ipv4.tcp_rmem)'
    ]


def test_each_function_runs_once_a_review(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(check: str, function: Any) -> Callable[..., Any]:
        def count(pod: Any) -> Any:
            calls.append(check)
            return function(pod)

        return count

    functions = {function: counted(check, function) for runs in RUNS.values() for check, function, _ in runs}
    runs = {key: tuple((check, functions[function], bit) for check, function, bit in run) for key, run in RUNS.items()}
    monkeypatch.setattr(evaluate, "RUNS", runs)
    monkeypatch.setattr(admission, "suspects", lambda *_: EVERYTHING)
    run(request(PRIVILEGED))
    assert sorted(calls) == sorted(set(calls))
    assert len(calls) == 19


def test_time_that_is_used_up_is_said() -> None:
    late = Context(request(PRIVILEGED), state=EMPTY, clock=lambda: 2.0, deadline=1.0)
    with pytest.raises(DeadlineExceeded):
        policies(PodSecurityConfig())[0].run(late)


def test_digests_are_stable_and_follow_the_configuration() -> None:
    digests = [policy.digest for policy in policies(PodSecurityConfig())]
    assert digests == [policy.digest for policy in policies(PodSecurityConfig())]
    for change in ({"version": "v1.30"}, {"server_minor": 34}, {"exempt_usernames": ("a",)}, {"level": "baseline"}):
        other = [policy.digest for policy in policies(PodSecurityConfig(**change))]
        assert not set(digests) & set(other)
    assert len(set(digests)) == 2


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"level": "strict"}, "strict"), ({"version": "1.30"}, "v1.x"), ({"server_minor": -1}, "negative")],
)
def test_a_configuration_that_cannot_be_right(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        policies(PodSecurityConfig(**change))


WRONG_TYPES: dict[str, Any] = {
    "hostNetwork": 1,
    "hostPID": "true",
    "hostUsers": 0,
    "os": "windows",
    "volumes": {"hostPath": {}},
    "securityContext": {
        "runAsUser": False,
        "runAsNonRoot": 1,
        "seccompProfile": "Unconfined",
        "appArmorProfile": ["Unconfined"],
        "seLinuxOptions": {"type": 1, "user": ["u"], "role": {"r": 1}},
        "windowsOptions": {"hostProcess": 1},
        "sysctls": {"name": "a"},
    },
    "containers": [
        {
            "name": 5,
            "securityContext": {
                "privileged": 1,
                "procMount": 7,
                "runAsUser": 0.0,
                "allowPrivilegeEscalation": False,
                "runAsNonRoot": True,
                "capabilities": {"add": [1, None, {}], "drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
                "windowsOptions": {"hostProcess": "true"},
            },
            "ports": [{"hostPort": True}, {"hostPort": "80"}, 80],
            "livenessProbe": {"httpGet": {"host": 1}, "tcpSocket": "h"},
            "lifecycle": [{"preStop": {"httpGet": {"host": "h"}}}],
        },
    ],
}


def test_a_value_of_the_wrong_type_is_absent() -> None:
    verdicts = run(request({"metadata": {"annotations": [["a", "b"]]}, "spec": WRONG_TYPES}))
    assert [verdict.findings for verdict in verdicts if verdict] == [(), ()]


# fmt: off
KEYS = [
    "metadata", "annotations", "spec", "template", "jobTemplate", "containers", "initContainers",
    "ephemeralContainers", "volumes", "name", "image", "type", "securityContext", "privileged", "capabilities", "add",
    "drop", "seccompProfile", "appArmorProfile", "seLinuxOptions", "user", "role", "procMount", "windowsOptions",
    "hostProcess", "runAsUser", "runAsNonRoot", "allowPrivilegeEscalation", "sysctls", "ports", "hostPort",
    "livenessProbe", "lifecycle", "preStop", "httpGet", "host", "hostPath", "emptyDir", "os", "hostUsers",
    "hostNetwork", "runtimeClassName", "labels", "container.apparmor.security.beta.kubernetes.io/a",
    "seccomp.security.alpha.kubernetes.io/pod",
]
# fmt: on
LEAVES = (
    st.none() | st.booleans() | st.integers(-1, 90) | st.floats(allow_nan=False) | st.sampled_from(["", "ALL", "é\n"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=25,
)
SHAPED = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3),
        "spec": st.dictionaries(
            st.sampled_from(KEYS), JSON | st.lists(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=5), max_size=3)
        ),
    },
)


@settings(max_examples=100, deadline=None)
@given(
    obj=JSON | SHAPED,
    old=JSON | SHAPED,
    kind=st.sampled_from(sorted(RESOURCES)),
    operation=st.sampled_from(["CREATE", "UPDATE", "DELETE", "CONNECT"]),
    labels=JSON,
    version=st.sampled_from(["latest", "v1.0", "v1.20", "v1.34"]),
)
def test_any_json_is_survived(obj: Any, old: Any, kind: str, operation: str, labels: Any, version: str) -> None:
    state = State(objects={("v1", "Namespace", "", "shop"): {"metadata": {"labels": labels}}})
    wrapped = obj
    for step in reversed(TEMPLATE_PATH[kind]):
        wrapped = {step: wrapped}
    for each in (obj, wrapped):
        verdicts = run(request(each, kind, operation, old=old), state, version=version)
        assert len(shown(verdicts)) <= 1
        if verdicts[0] is not None and operation == "CREATE":
            assert run(request(each, kind, operation, old=old), state, version=version) == verdicts


@settings(max_examples=100, deadline=None)
@given(obj=SHAPED)
def test_restricted_is_stricter_than_baseline(obj: Any) -> None:
    """Windows apart, which no generated object claims to be: there restricted leaves Linux fields alone."""
    baseline, restricted = run(request(obj), version="v1.34")
    if baseline and baseline.findings:
        assert restricted
        assert restricted.findings
