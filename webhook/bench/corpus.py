"""What the driver sends: AdmissionReviews from a seed, or from the user's own JSON Lines file.

The generated mix is that of a cluster at work: pods and their controllers most of all, updates more than creates,
1.5 KB to 400 KB, and few of the large ones. Equal seeds give equal bytes. Every request gets its own uid on the wire,
so a review is kept as the bytes before and after it.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from webhook.bench import objects
from webhook.bench.objects import Object
from webhook.errors import InvalidInput, Problem

SIZE = 250
"""Distinct reviews in a generated corpus."""

_UID = "00000000-0000-4000-8000-aaaaaaaaaaaa"


class Body(Struct, frozen=True):
    """Bytes around the place of the uid."""

    before: bytes
    after: bytes

    def filled(self, uid: str) -> bytes:
        return b"%b%b%b" % (self.before, uid.encode("ascii"), self.after)


class Review(Struct, frozen=True):
    label: str
    """What it is, e.g. `UPDATE deployments`."""
    body: Body

    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body.before) + len(_UID) + len(self.body.after)


def generate(seed: int, count: int = SIZE) -> list[Review]:
    """`count` reviews in a fixed order for a seed; each large one is there once in `SIZE`."""
    rng = random.Random(seed)  # noqa: S311 (reproducible, nothing secret)
    makers, weights = zip(*((maker, weight) for maker, weight in _MIX), strict=True)
    reviews = [rng.choices(makers, weights)[0](rng) for _ in range(count)]
    for place, maker in zip(range(7, count, 50), _LARGE, strict=False):
        reviews[place] = maker(rng)
    return reviews


def reference(seed: int = 1, *, tidy: bool = False) -> Review:
    """The object that figures are quoted for: UPDATE of a 10 KB Deployment of seven containers, a 24 KB review.

    As it comes some of its containers are without limits and securityContext, so policies fire and look at `oldObject`,
    too; `tidy`, they find nothing.
    """
    rng = random.Random(seed)  # noqa: S311
    value = objects.deployment(rng, "payments-prod", containers=7)
    if tidy:
        objects.tidy(value["spec"]["template"]["spec"])
    spec = {key: value["spec"][key] for key in ("replicas", "strategy", "revisionHistoryLimit")}
    images = [{"name": one["name"], "image": one["image"]} for one in value["spec"]["template"]["spec"]["containers"]]
    spec["template"] = {"spec": {"containers": images}}
    _ready(rng, value)
    objects.managed(value, {"metadata": value["metadata"], "spec": spec})
    return _update(rng, value, "deployments", _rollout)


def read(path: Path) -> list[Review]:
    """AdmissionReviews from a JSON Lines file, one a line. Raises `InvalidInput` naming each bad line."""
    reviews: list[Review] = []
    problems: list[Problem] = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            reviews.append(_recorded(msgspec.json.decode(line)))
        except (msgspec.DecodeError, ValueError) as error:
            problems.append(Problem(file=str(path), line=number, message=f"expected an AdmissionReview: {error}"))
    if not reviews and not problems:
        problems.append(Problem(file=str(path), message="empty; expected one AdmissionReview (JSON) a line"))
    if problems:
        raise InvalidInput(problems)
    return reviews


def _recorded(value: Any) -> Review:
    if not isinstance(value, dict) or value.get("kind") != "AdmissionReview":
        raise ValueError("`kind` is not AdmissionReview")
    request = value.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str):
        raise ValueError("`request.uid` is missing")  # noqa: TRY004 (a value of JSON)
    resource = request.get("resource")
    name = resource.get("resource", "?") if isinstance(resource, dict) else "?"
    return _review(f"{request.get('operation', '?')} {name}", value)


def _review(label: str, value: Object) -> Review:
    # The uid stands first, as the API server writes it: webhooks recover it from the beginning of a broken body.
    request = value["request"]
    ordered = {
        "kind": value["kind"],
        "apiVersion": value.get("apiVersion"),
        "request": {"uid": _UID} | request | {"uid": _UID},
    }
    before, _, after = _as_go_writes(ordered).partition(_UID.encode())
    return Review(label, Body(before, after))


def _as_go_writes(value: object) -> bytes:
    """JSON with Go's escapes and its closing newline. `<`, `>` and `&` can only stand inside strings."""
    text = msgspec.json.encode(value)
    for character in b"<>&":
        text = text.replace(bytes((character,)), b"\\u%04x" % character)
    return text + b"\n"


# ── one request ─────────────────────────────────────────────────────────────────────────────────────────────────

_CONTROLLERS = "system:serviceaccount:kube-system"
_GROUPS = {"Pod": "", "Service": "", "ConfigMap": "", "Namespace": ""}


def _request(
    rng: random.Random, operation: str, resource: str, new: Object | None, old: Object | None, *, kind: str = "",
    subresource: str = "", group: str | None = None, user: str = "",
) -> Review:  # fmt: skip
    shown: Object = new or old or {}
    meta = shown.get("metadata", {})
    shown_group, _, version = shown["apiVersion"].rpartition("/")
    kind_id = {"group": shown_group, "version": version, "kind": kind or shown["kind"]}
    resource_group = shown_group if group is None else group
    resource_id = {"group": resource_group, "version": "v1", "resource": resource}
    sub = {"subResource": subresource} if subresource else {}
    request_sub = {"requestSubResource": subresource} if subresource else {}
    options = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}.get(operation)
    name = meta.get("name") or f"{objects.application(rng)}-{objects.suffix(rng, 5)}"
    where = {} if shown["kind"] == "Namespace" else {"namespace": meta.get("namespace") or objects.namespace_name(rng)}
    request = {
        "uid": "",
        "kind": kind_id,
        "resource": resource_id,
        **sub,
        "requestKind": kind_id,
        "requestResource": resource_id,
        **request_sub,
        "name": name,
        **(where or {"namespace": name}),
        "operation": operation,
        "userInfo": _user(rng, user),
        "object": new,
        "oldObject": old,
        "dryRun": rng.random() < 0.02,
        "options": options
        and {"kind": options, "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl-client-side-apply"},
    }
    label = f"{operation} {resource}{'/' if subresource else ''}{subresource}"
    return _review(label, {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})


def _user(rng: random.Random, controller: str) -> Object:
    if controller:
        name = f"{_CONTROLLERS}:{controller}"
        groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"]
        return {"username": name, "uid": objects.uid(rng), "groups": groups}
    person = f"{objects.suffix(rng, 6)}@example.com"
    groups = [f"oidc:{objects.namespace_name(rng)}:{role}" for role in ("deployers", "viewers", "oncall", "reviewers")]
    return {
        "username": f"oidc:{person}",
        "groups": [*groups, "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": [f"X509SHA256={rng.getrandbits(256):064x}"]},
    }


def _create(rng: random.Random, new: Object, resource: str, user: str = "") -> Review:
    return _request(rng, "CREATE", resource, new, None, user=user)


def _update(
    rng: random.Random, old: Object, resource: str, change: Callable[[random.Random, Object], None], user: str = "",
    subresource: str = "",
) -> Review:  # fmt: skip
    new = copy.deepcopy(old)
    change(rng, new)
    return _request(rng, "UPDATE", resource, new, old, user=user, subresource=subresource)


def _delete(rng: random.Random, old: Object, resource: str, user: str = "") -> Review:
    return _request(rng, "DELETE", resource, None, old, user=user)


def _rollout(rng: random.Random, value: Object) -> None:
    """A new image, as a delivery pipeline writes it."""
    value["metadata"]["generation"] += 1
    first = value["spec"]["template"]["spec"]["containers"][0]
    first["image"] = f"{first['image'].rpartition(':')[0]}:{rng.randint(1, 9)}.{rng.randint(41, 99)}.0"


def _label(rng: random.Random, value: Object) -> None:
    value["metadata"]["labels"]["release"] = objects.suffix(rng, 8)


def _ready(rng: random.Random, value: Object) -> None:
    replicas = rng.randint(1, 12)
    since = {"lastUpdateTime": objects.TIME, "lastTransitionTime": objects.TIME}
    value["status"] = {
        "observedGeneration": value["metadata"]["generation"],
        **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas),
        "conditions": [
            {"type": kind, "status": "True", **since, "reason": reason, "message": message}
            for kind, reason, message in (
                ("Available", "MinimumReplicasAvailable", "Deployment has minimum availability."),
                ("Progressing", "NewReplicaSetAvailable", "The new ReplicaSet has successfully progressed."),
            )
        ],
    }


def _one_more(rng: random.Random, value: Object) -> None:
    value["spec"]["replicas"] += 1


def _line(rng: random.Random, value: Object) -> None:
    value["data"]["revision"] = objects.suffix(rng, 12)


def _exec(rng: random.Random) -> Review:
    options = {
        "kind": "PodExecOptions",
        "apiVersion": "v1",
        "stdin": True,
        "stdout": True,
        "stderr": True,
        "container": objects.application(rng),
        # Long enough to be an ordinary debugging session, and the smallest review in the mix.
        "command": [
            "sh",
            "-c",
            " ; ".join(f"curl -sS http://127.0.0.1:8080/debug/{objects.suffix(rng, 6)}" for _ in range(12)),
        ],
    }
    return _request(rng, "CONNECT", "pods", options, None, subresource="exec")


def _scaled(rng: random.Random) -> Review:
    old = objects.managed(objects.scale(rng, objects.namespace_name(rng)))
    new = copy.deepcopy(old)
    _one_more(rng, new)
    return _request(rng, "UPDATE", "deployments", new, old, subresource="scale", group="apps")


def _in_namespace(make: Callable[..., Object], *more: int) -> Callable[[random.Random], Object]:
    return lambda rng: make(rng, objects.namespace_name(rng), *more)


Maker = Callable[[random.Random], Review]

_pod, _deployment = _in_namespace(objects.pod), _in_namespace(objects.deployment)
_replica_set = _in_namespace(objects.replica_set)

_MIX: Sequence[tuple[Maker, int]] = (
    (lambda rng: _create(rng, _pod(rng), "pods", "replicaset-controller"), 28),
    (lambda rng: _update(rng, _pod(rng), "pods", _label), 6),
    (lambda rng: _delete(rng, _pod(rng), "pods", "generic-garbage-collector"), 8),
    (lambda rng: _create(rng, _deployment(rng), "deployments"), 6),
    (lambda rng: _update(rng, _deployment(rng), "deployments", _rollout), 12),
    (lambda rng: _update(rng, _deployment(rng), "deployments", _ready, "deployment-controller", "status"), 4),
    (_scaled, 4),
    (lambda rng: _create(rng, _replica_set(rng), "replicasets", "deployment-controller"), 6),
    (lambda rng: _update(rng, _replica_set(rng), "replicasets", _one_more, "deployment-controller"), 8),
    (lambda rng: _create(rng, objects.stateful_set(rng, objects.namespace_name(rng)), "statefulsets"), 2),
    (lambda rng: _update(rng, objects.daemon_set(rng, objects.namespace_name(rng)), "daemonsets", _rollout), 2),
    (lambda rng: _create(rng, objects.job(rng, objects.namespace_name(rng)), "jobs", "cronjob-controller"), 4),
    (lambda rng: _update(rng, objects.cron_job(rng, objects.namespace_name(rng)), "cronjobs", _label), 1),
    (lambda rng: _create(rng, objects.service(rng, objects.namespace_name(rng)), "services"), 3),
    (lambda rng: _update(rng, objects.config_map(rng, objects.namespace_name(rng), 3_000), "configmaps", _line), 3),
    (lambda rng: _create(rng, objects.namespace(rng), "namespaces"), 1),
    (_exec, 2),
)
"""What arrives, and how often in a hundred."""

_LARGE: Sequence[Maker] = (
    lambda rng: _update(rng, objects.config_map(rng, objects.namespace_name(rng), 204_000), "configmaps", _line),
    lambda rng: _create(rng, objects.custom_resource(rng, objects.namespace_name(rng), 500), "routetables"),
    lambda rng: _create(rng, objects.config_map(rng, objects.namespace_name(rng), 60_000), "configmaps"),
    lambda rng: _update(rng, objects.custom_resource(rng, objects.namespace_name(rng), 80), "routetables", _label),
)
"""Each is in the corpus once."""
