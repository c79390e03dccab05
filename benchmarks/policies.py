"""As many CEL policies as asked for, as ValidatingAdmissionPolicy manifests: seeded, and like those of the catalogue.

Every policy matches Pods and every pod template and asks something of each container, each image, each label: none is
free. Two hundred are two hundred different expressions, for equal ones would be compiled or computed once. Few objects
violate many of them; strict ones are made so that hardly an object keeps them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

_RULES = (
    {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]},
    {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "resources": ["deployments", "replicasets", "statefulsets", "daemonsets"],
    },
    {"apiGroups": ["batch"], "apiVersions": ["v1"], "resources": ["jobs", "cronjobs"]},
)
_POD_SPEC = (
    'object.kind == "Pod" ? object.spec : object.kind == "CronJob" ? object.spec.jobTemplate.spec.template.spec '
    ": object.spec.template.spec"
)
_CONTAINERS = (
    "variables.podSpec.containers + (has(variables.podSpec.initContainers) ? variables.podSpec.initContainers : [])"
)

Made = tuple[str, str, str]
"""Expression, and the message's prefix and suffix around what failed."""


def _registries(rng: random.Random, *, strict: bool = False) -> Made:
    hosts = [f'"registry-{rng.randint(1, 999)}.example.com/"' for _ in range(2)]
    common = [] if strict else ['"registry.example.com/"', '"mirror.example.org/"']
    allowed = f"[{', '.join([*common, *hosts])}]"
    return (
        f"variables.containers.all(c, {allowed}.exists(r, c.image.startsWith(r)))",
        "images come from",
        "our registries",
    )


def _tag(rng: random.Random) -> Made:
    tag = rng.choice(("latest", "dev", "edge", "nightly", "main")) + rng.choice(
        ("", "-arm", "-debug", f"-{rng.randint(1, 99)}")
    )
    return f'variables.containers.all(c, !c.image.endsWith(":{tag}") && c.image.contains(":"))', "no tag", tag


def _label(rng: random.Random, *, strict: bool = False) -> Made:
    key = rng.choice(("team", "app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/version"))
    key = f"required.example.com/{key.rpartition('/')[2]}" if strict else key
    wrong = f"todo-{rng.randint(1, 999)}"
    labels = "object.metadata.labels"
    return (
        f'has({labels}) && "{key}" in {labels} && !({labels}["{key}"] in ["", "{wrong}"])',
        "label",
        f"{key}, not {wrong}",
    )


def _label_form(rng: random.Random, *, strict: bool = False) -> Made:
    longest = rng.randint(2, 7) if strict else rng.randint(20, 63)
    labels = "object.metadata.labels"
    form = f"^[A-Za-z0-9._-]{{0,{longest}}}$"
    expression = (
        f'!has({labels}) || {labels}.all(k, k == "free-{rng.randint(1, 999)}" || {labels}[k].matches("{form}"))'
    )
    return expression, "label values have at most", f"{longest} characters"


def _limit(rng: random.Random, *, strict: bool = False) -> Made:
    what = "ephemeral-storage" if strict else rng.choice(("memory", "cpu", "ephemeral-storage"))
    skipped = rng.randint(1, 999)
    return (
        f'variables.containers.all(c, c.name == "skip-{skipped}" || '
        f'(has(c.resources) && has(c.resources.limits) && "{what}" in c.resources.limits))',
        "limits set",
        what,
    )


def _secrets(rng: random.Random) -> Made:
    word = rng.choice(("PASSWORD", "TOKEN", "SECRET", "API_KEY")) + rng.choice(("", "_ID", f"_{rng.randint(1, 99)}"))
    expression = (
        f'variables.containers.all(c, !has(c.env) || c.env.all(e, !has(e.value) || !e.name.matches("(^|_){word}$")))'
    )
    return expression, "no literal secret in", word


def _host_path(rng: random.Random) -> Made:
    path = f"/var/lib/{rng.choice(('kubelet', 'docker', 'containerd', 'etcd'))}-{rng.randint(1, 99)}"
    volumes = "variables.podSpec.volumes"
    expression = f'!has({volumes}) || {volumes}.all(v, !has(v.hostPath) || !v.hostPath.path.startsWith("{path}"))'
    return expression, "no hostPath below", path


def _mount(rng: random.Random) -> Made:
    path = f"/{rng.choice(('etc', 'usr', 'var', 'proc'))}/{rng.randint(1, 999)}"
    expression = (
        f'variables.containers.all(c, !has(c.volumeMounts) || c.volumeMounts.all(m, !m.mountPath.startsWith("{path}")))'
    )
    return expression, "nothing mounted below", path


def _capability(rng: random.Random) -> Made:
    names = ("SYS_ADMIN", "NET_RAW", "SYS_PTRACE", "SYS_MODULE", "BPF", "PERFMON", "MKNOD")
    several = ", ".join(f'"{name}"' for name in rng.sample(names, rng.randint(1, 4)))
    expression = (
        "variables.containers.all(c, !has(c.securityContext) || !has(c.securityContext.capabilities) || "
        f"!has(c.securityContext.capabilities.add) || c.securityContext.capabilities.add.all(k, !(k in [{several}])))"
    )
    return expression, "none of", several.replace('"', "")


def _ports(rng: random.Random, *, strict: bool = False) -> Made:
    least = rng.randint(20_000, 60_000) if strict else rng.randint(80, 1024)
    expression = f"variables.containers.all(c, !has(c.ports) || c.ports.all(p, p.containerPort >= {least}))"
    return expression, "ports from", str(least)


def _replicas(rng: random.Random) -> Made:
    most = rng.randint(10, 500)
    return f"!has(object.spec.replicas) || object.spec.replicas <= {most}", "replicas at most", str(most)


def _account(rng: random.Random, *, strict: bool = False) -> Made:
    if strict:
        name = f"shared-{rng.randint(1, 99)}"
        return f'variables.podSpec.?serviceAccountName.orValue("") == "{name}"', "the service account", name
    name = rng.choice(("default", f"shared-{rng.randint(1, 99)}", f"admin-{rng.randint(1, 99)}"))
    expression = f'has(variables.podSpec.serviceAccountName) && variables.podSpec.serviceAccountName != "{name}"'
    return expression, "no service account", name


_TEMPLATES: Sequence[Callable[..., Made]] = (
    _registries, _tag, _label, _label_form, _limit, _secrets,
    _host_path, _mount, _capability, _ports, _replicas, _account,
)  # fmt: skip


_STRICTER: Sequence[Callable[..., Made]] = (_registries, _label, _label_form, _limit, _ports, _account)
"""Those that can be strict."""


def digest() -> str:
    """Of this module's text: what was written by another generator is not taken for ours."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]


def write(folder: Path, count: int, *, strict: int = 0, seed: int = 1) -> None:
    """One file a policy, each with its binding, into `folder`; `strict` of them are (at most half of all can be)."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    while len(seen) < count:
        template = _TEMPLATES[len(seen) % len(_TEMPLATES)]
        is_strict = strict > 0 and template in _STRICTER
        expression, prefix, suffix = template(rng, strict=True) if is_strict else template(rng)
        if expression in seen:
            continue
        strict -= is_strict
        name = f"bench-{len(seen):03d}"
        documents = (_policy(name, expression, f"{prefix} {suffix}", dynamic=len(seen) % 5 == 0), _binding(name))
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False, width=1000))
        seen.add(expression)


def _policy(name: str, expression: str, message: str, *, dynamic: bool) -> dict[str, Any]:
    validation = {"expression": expression, "message": message}
    if dynamic:
        validation["messageExpression"] = f'"{message.replace(chr(34), "")}: " + object.metadata.name'
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {
            "name": name,
            "annotations": {
                "wouldblock.dev/title": message,
                "wouldblock.dev/severity": "low",
                "wouldblock.dev/pack": "bench",
                "wouldblock.dev/remediation": "Nothing to do: a benchmark's policy.",
            },
        },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{**rule, "operations": ["CREATE", "UPDATE"]} for rule in _RULES]},
            "variables": [
                {"name": "podSpec", "expression": _POD_SPEC},
                {"name": "containers", "expression": _CONTAINERS},
            ],
            "validations": [validation],
        },
    }


def _binding(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Warn", "Audit"]},
    }
