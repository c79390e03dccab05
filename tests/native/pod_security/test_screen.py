"""The screen lets nothing through: what it does not suspect passes, at every version."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from webhook.errors import DeadlineExceeded
from webhook.native.pod_security.registry import CHECKS
from webhook.native.pod_security.screen import BITS, EVERYTHING, suspects
from webhook.workload import annotations_of, mapping, pod

PROFILE = st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from(["RuntimeDefault", "Localhost", "Unconfined", ""])}
)
ODD: Any = st.sampled_from([None, "", 0, 1.5, [], {}, True])
"""What the API server would refuse, or drop: the screen must not be less strict than the checks even there."""


def oddly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(usual, usual, usual, ODD)


COMMON: dict[str, Any] = {
    "runAsNonRoot": oddly(st.booleans()),
    "runAsUser": oddly(st.sampled_from([0, 1, 1000])),
    "runAsGroup": st.just(1),
    "seccompProfile": oddly(PROFILE),
    "appArmorProfile": oddly(PROFILE),
    "seLinuxOptions": oddly(
        st.fixed_dictionaries(
            {}, optional={"type": st.sampled_from(["", "container_t", "spc_t"]), "user": st.just("u")}
        )
    ),
    "windowsOptions": oddly(st.fixed_dictionaries({}, optional={"hostProcess": st.booleans()})),
}
CAPABILITIES = st.lists(st.sampled_from(["ALL", "NET_BIND_SERVICE", "CHOWN", "SYS_ADMIN"]), max_size=2)
CONTAINER_SECURITY = st.fixed_dictionaries(
    {},
    optional={
        **COMMON,
        "privileged": oddly(st.booleans()),
        "allowPrivilegeEscalation": oddly(st.booleans()),
        "procMount": oddly(st.sampled_from(["Default", "Unmasked"])),
        "readOnlyRootFilesystem": st.booleans(),
        "capabilities": oddly(
            st.fixed_dictionaries({}, optional={"add": oddly(CAPABILITIES), "drop": oddly(CAPABILITIES)})
        ),
    },
)
HANDLER = oddly(
    st.fixed_dictionaries(
        {},
        optional={action: oddly(st.sampled_from([{"host": "h"}, {"port": 1}])) for action in ("httpGet", "tcpSocket")},
    )
)
CONTAINER = oddly(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["a", "b"])},
        optional={
            "securityContext": oddly(CONTAINER_SECURITY),
            "ports": oddly(
                st.lists(st.sampled_from([{"hostPort": 80}, {"hostPort": 0}, {"containerPort": 80}]), max_size=2)
            ),
            **dict.fromkeys(("livenessProbe", "readinessProbe", "startupProbe"), HANDLER),
            "lifecycle": oddly(st.fixed_dictionaries({}, optional=dict.fromkeys(("postStart", "preStop"), HANDLER))),
        },
    )
)
VOLUME = oddly(
    st.dictionaries(
        st.sampled_from(["name", "configMap", "emptyDir", "hostPath", "nfs", "image", "mystery"]),
        st.one_of(st.just({}), ODD),
        max_size=3,
    )
)
SPEC = st.fixed_dictionaries(
    {},
    optional={
        "containers": oddly(st.lists(CONTAINER, max_size=3)),
        "initContainers": oddly(st.lists(CONTAINER, max_size=1)),
        "ephemeralContainers": oddly(st.lists(CONTAINER, max_size=1)),
        "securityContext": oddly(
            st.fixed_dictionaries(
                {},
                optional={
                    **COMMON,
                    "sysctls": oddly(st.lists(st.sampled_from([{"name": "kernel.msgmax"}, {}]), max_size=1)),
                },
            )
        ),
        "volumes": oddly(st.lists(VOLUME, max_size=2)),
        "hostNetwork": oddly(st.booleans()),
        "hostPID": oddly(st.booleans()),
        "hostIPC": oddly(st.booleans()),
        "hostUsers": oddly(st.booleans()),
        "os": oddly(st.sampled_from([{"name": "windows"}, {"name": "linux"}])),
    },
)
ANNOTATIONS = st.dictionaries(
    st.sampled_from(
        [
            "team",
            "container.apparmor.security.beta.kubernetes.io/a",
            "seccomp.security.alpha.kubernetes.io/pod",
            "container.seccomp.security.alpha.kubernetes.io/a",
        ]
    ),
    oddly(st.sampled_from(["runtime/default", "unconfined", "localhost/x"])),
    max_size=2,
)


@example(spec={"volumes": [{"name": {}}]}, notes={})
@given(spec=oddly(SPEC), notes=oddly(ANNOTATIONS))
def test_what_is_not_suspected_passes(spec: Any, notes: Any) -> None:
    holder = {"metadata": {"annotations": notes}, "spec": spec}
    found = suspects(mapping(spec), annotations_of(holder))
    taken_apart = pod(holder)
    missed = [
        f"{check.id} from 1.{since}"
        for check in CHECKS
        for since, function in check.versions
        if not found & BITS[check.id] and function(taken_apart) is not None
    ]
    assert not missed


def test_each_check_has_its_bit() -> None:
    assert BITS.keys() == {check.id for check in CHECKS}
    assert sum(BITS.values()) == EVERYTHING


def test_an_exemplary_pod_is_above_suspicion() -> None:
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    probe = {"httpGet": {"path": "/", "port": 8080}}
    container = {"name": "app", "securityContext": security, "livenessProbe": probe, "ports": [{"containerPort": 80}]}
    spec = {"containers": [container], "volumes": [{"name": "v", "configMap": {"name": "c"}}]}
    assert suspects(spec, {"team": "shop"}) == 0


def test_ten_thousand_containers_do_not_outlast_the_deadline() -> None:
    calls = 0

    def tick() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise DeadlineExceeded

    with pytest.raises(DeadlineExceeded):
        suspects({"containers": [{}] * 10_000}, {}, tick)
