"""Kubernetes objects as the API server hands them to a webhook: defaulted, owned, with managedFields.

Every function takes a seeded generator and returns a JSON value; equal seeds give equal objects. Names, images and
sizes are invented, their proportions are those of ordinary clusters: most pods run one or two containers, some with
sidecars, most without a full securityContext.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Object = dict[str, Any]

_APPS = (
    "cart",
    "checkout",
    "search",
    "billing",
    "ledger",
    "mailer",
    "catalog",
    "auth",
    "ranker",
    "stock",
    "quotes",
    "feed",
)
_PARTS = ("api", "web", "worker", "cache", "proxy", "sync", "batch", "gateway")
_TEAMS = ("payments", "storefront", "platform", "data", "identity", "growth")
_SIDECARS = ("mesh-proxy", "log-shipper", "config-reload", "metrics", "secrets-agent", "tracer")
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
TIME = "2026-03-04T05:06:07Z"


def uid(rng: random.Random) -> str:
    value = f"{rng.getrandbits(128):032x}"
    return f"{value[:8]}-{value[8:12]}-4{value[13:16]}-8{value[17:20]}-{value[20:]}"


def suffix(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(_SUFFIX, k=length))


def namespace_name(rng: random.Random) -> str:
    return f"{rng.choice(_TEAMS)}-{rng.choice(('prod', 'staging', 'dev'))}"


def application(rng: random.Random) -> str:
    return f"{rng.choice(_APPS)}-{rng.choice(_PARTS)}"


def labels(rng: random.Random, app: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/instance": app,
        "app.kubernetes.io/managed-by": rng.choice(("Helm", "argocd", "kustomize")),
        "app.kubernetes.io/name": app,
        "app.kubernetes.io/version": f"{rng.randint(1, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 9)}",
        "team": rng.choice(_TEAMS),
    }


def metadata(
    rng: random.Random, name: str, namespace: str = "", *, app: str = "", owner: tuple[str, str, str] | None = None
) -> Object:
    """`owner` is (apiVersion, kind, name) of the controller."""
    value: Object = {"name": name}
    if namespace:
        value["namespace"] = namespace
    value |= {"uid": uid(rng), "resourceVersion": str(rng.randint(10_000, 9_999_999)), "generation": rng.randint(1, 40)}
    value["creationTimestamp"] = TIME
    value["labels"] = labels(rng, app or name)
    if owner:
        value["ownerReferences"] = [
            {
                "apiVersion": owner[0],
                "kind": owner[1],
                "name": owner[2],
                "uid": uid(rng),
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    return value


def container(rng: random.Random, name: str, *, main: bool = True) -> Object:
    version = f"{rng.randint(0, 9)}.{rng.randint(0, 40)}.{rng.randint(0, 20)}"
    registry = rng.choice(("registry.example.com", "registry.example.com", "mirror.example.org/library"))
    value: Object = {
        "name": name,
        "image": f"{registry}/{name}:{'latest' if rng.random() < 0.05 else version}",
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
            *({"name": f"{name.upper().replace('-', '_')}_{key}", "value": text} for key, text in _settings(rng, name)),
        ],
    }
    if main:
        value["ports"] = [
            {"name": "http", "containerPort": 8080, "protocol": "TCP"},
            {"name": "metrics", "containerPort": 9090, "protocol": "TCP"},
        ]
    if rng.random() < 0.8:
        value["resources"] = {
            "limits": {"memory": f"{rng.choice((128, 256, 512, 1024))}Mi"}
            | ({"cpu": "1"} if rng.random() < 0.5 else {}),
            "requests": {"cpu": f"{rng.choice((50, 100, 250))}m", "memory": f"{rng.choice((32, 64, 128))}Mi"},
        }
    else:
        value["resources"] = {}
    value["volumeMounts"] = [
        {"name": "config", "readOnly": True, "mountPath": f"/etc/{name}"},
        {"name": "scratch", "mountPath": "/var/run/scratch"},
        {"name": "kube-api-access", "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
    ]
    if main:
        for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            value[probe] = {
                "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
                "initialDelaySeconds": rng.randint(1, 15),
                "timeoutSeconds": 1,
                "periodSeconds": 10,
                "successThreshold": 1,
                "failureThreshold": 3,
            }
    value |= {
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }
    if rng.random() < 0.6:
        value["securityContext"] = {
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    elif rng.random() < 0.1:
        value["securityContext"] = {"privileged": True}
    return value


def _settings(rng: random.Random, name: str) -> list[tuple[str, str]]:
    return [
        ("LOG_LEVEL", rng.choice(("info", "warn", "debug"))),
        (
            "DATABASE_URL",
            f"postgres://{name}@db.{namespace_name(rng)}.svc:5432/{name}?sslmode=require&pool={rng.randint(2, 40)}",
        ),
        ("FEATURES", ",".join(sorted(rng.sample(_APPS + _PARTS, rng.randint(2, 6))))),
    ]


def pod_spec(rng: random.Random, app: str, containers: int) -> Object:
    names = [app, *rng.sample(_SIDECARS, containers - 1)]
    value: Object = {
        "volumes": [
            {"name": "config", "configMap": {"name": f"{app}-config", "defaultMode": 420}},
            {"name": "scratch", "emptyDir": {}},
            {
                "name": "kube-api-access",
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                    ],
                    "defaultMode": 420,
                },
            },
        ],
        "containers": [container(rng, name, main=name == app) for name in names],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": app,
        "serviceAccount": app,
        "securityContext": {"fsGroup": 2000} if rng.random() < 0.4 else {},
        "schedulerName": "default-scheduler",
        "tolerations": [
            {
                "key": f"node.kubernetes.io/{taint}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 300,
            }
            for taint in ("not-ready", "unreachable")
        ],
        "priority": 0,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
    }
    if rng.random() < 0.05:
        value["hostNetwork"] = True
    if rng.random() < 0.3:
        value["initContainers"] = [container(rng, "migrate", main=False)]
    return value


def tidy(spec: Object) -> None:
    """Makes the containers of a pod spec what policies ask for: restricted, limited, with a fixed version."""
    spec["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for one in (*spec.get("initContainers", ()), *spec["containers"]):
        one["image"] = f"registry.example.com/{one['name']}:1.4.2"
        one["resources"] = {"limits": {"cpu": "1", "memory": "256Mi"}, "requests": {"cpu": "50m", "memory": "64Mi"}}
        one["securityContext"] = {"capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False}


def template(rng: random.Random, app: str, containers: int) -> Object:
    return {
        "metadata": {
            "labels": {"app.kubernetes.io/name": app},
            "annotations": {"checksum/config": f"{rng.getrandbits(256):064x}"},
        },
        "spec": pod_spec(rng, app, containers),
    }


def _workload(rng: random.Random, kind: str, namespace: str, spec: Callable[[str], Object], **more: Any) -> Object:
    app = application(rng)
    meta = metadata(rng, app, namespace, app=app, **more)
    return managed({"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": spec(app), "status": {}})


def _containers(rng: random.Random) -> int:
    return rng.choices((1, 2, 3, 5), (50, 30, 15, 5))[0]


def deployment(rng: random.Random, namespace: str, containers: int = 0) -> Object:
    def spec(app: str) -> Object:
        return {
            "replicas": rng.randint(1, 12),
            "selector": {"matchLabels": {"app.kubernetes.io/name": app}},
            "template": template(rng, app, containers or _containers(rng)),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
        }

    return _workload(rng, "Deployment", namespace, spec)


def replica_set(rng: random.Random, namespace: str) -> Object:
    def spec(app: str) -> Object:
        return {
            "replicas": rng.randint(0, 12),
            "selector": {"matchLabels": {"app.kubernetes.io/name": app}},
            "template": template(rng, app, _containers(rng)),
        }

    return _workload(rng, "ReplicaSet", namespace, spec, owner=("apps/v1", "Deployment", application(rng)))


def stateful_set(rng: random.Random, namespace: str) -> Object:
    def spec(app: str) -> Object:
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}},
        }
        return {
            "replicas": 3,
            "selector": {"matchLabels": {"app.kubernetes.io/name": app}},
            "template": template(rng, app, _containers(rng)),
            "volumeClaimTemplates": [claim],
            "serviceName": app,
            "podManagementPolicy": "OrderedReady",
        }

    return _workload(rng, "StatefulSet", namespace, spec)


def daemon_set(rng: random.Random, namespace: str) -> Object:
    def spec(app: str) -> Object:
        pod = template(rng, app, _containers(rng))
        pod["spec"]["volumes"].append({"name": "logs", "hostPath": {"path": "/var/log", "type": ""}})
        return {
            "selector": {"matchLabels": {"app.kubernetes.io/name": app}},
            "template": pod,
            "revisionHistoryLimit": 10,
        }

    return _workload(rng, "DaemonSet", namespace, spec)


def job(rng: random.Random, namespace: str) -> Object:
    app = application(rng)
    pod = template(rng, app, 1)
    pod["spec"]["restartPolicy"] = "Never"
    spec = {"parallelism": 1, "completions": 1, "backoffLimit": 6, "template": pod, "suspend": False}
    meta = metadata(rng, f"{app}-{rng.randint(10**7, 10**8)}", namespace, owner=("batch/v1", "CronJob", app))
    return managed({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec, "status": {}})


def cron_job(rng: random.Random, namespace: str) -> Object:
    app = application(rng)
    pod = template(rng, app, 1)
    pod["spec"]["restartPolicy"] = "OnFailure"
    spec = {
        "schedule": f"{rng.randint(0, 59)} * * * *",
        "concurrencyPolicy": "Forbid",
        "suspend": False,
        "jobTemplate": {"metadata": {}, "spec": {"template": pod}},
    }
    meta = metadata(rng, app, namespace)
    return managed({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta, "spec": spec, "status": {}})


def pod(rng: random.Random, namespace: str) -> Object:
    app = application(rng)
    owner = f"{app}-{suffix(rng, 10)}"
    meta = metadata(rng, f"{owner}-{suffix(rng, 5)}", namespace, app=app, owner=("apps/v1", "ReplicaSet", owner))
    meta["generateName"] = f"{owner}-"
    status = {"phase": "Pending", "qosClass": "Burstable"}
    spec = pod_spec(rng, app, _containers(rng))
    return managed({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status})


def service(rng: random.Random, namespace: str) -> Object:
    app = application(rng)
    spec = {
        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http"}],
        "selector": {"app.kubernetes.io/name": app},
        "clusterIP": f"10.0.{rng.randint(0, 255)}.{rng.randint(1, 254)}",
        "type": rng.choices(("ClusterIP", "NodePort", "LoadBalancer"), (90, 5, 5))[0],
        "sessionAffinity": "None",
        "ipFamilyPolicy": "SingleStack",
    }
    meta = metadata(rng, app, namespace)
    return managed(
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec, "status": {"loadBalancer": {}}}
    )


def config_map(rng: random.Random, namespace: str, size: int) -> Object:
    """About `size` bytes of configuration text, with the characters that JSON and Go escape."""
    app = application(rng)
    line = '  <route match="/{0}/{1}" to="http://{0}.{2}.svc:8080" timeout=\'2s\' && retries>{3}</route>\n'
    data: dict[str, str] = {}
    while size > 0:
        text = "".join(
            line.format(application(rng), suffix(rng, 8), namespace_name(rng), rng.randint(0, 5))
            for _ in range(min(200, 1 + size // 160))
        )
        data[f"routes-{len(data)}.xml"] = text
        size -= len(text) * 4 // 3
    meta = metadata(rng, f"{app}-config", namespace, app=app)
    return managed({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})


def namespace(rng: random.Random) -> Object:
    name = f"{namespace_name(rng)}-{suffix(rng, 5)}"
    meta = metadata(rng, name)
    meta["labels"] |= {"kubernetes.io/metadata.name": name, "pod-security.kubernetes.io/warn": "baseline"}
    return managed(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": meta,
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        }
    )


def scale(rng: random.Random, namespace: str) -> Object:
    app = application(rng)
    meta = {"name": app, "namespace": namespace, "uid": uid(rng), "resourceVersion": "4711", "creationTimestamp": TIME}
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": meta,
        "spec": {"replicas": rng.randint(1, 20)},
        "status": {"replicas": rng.randint(1, 20), "selector": f"app.kubernetes.io/name={app}"},
    }


def custom_resource(rng: random.Random, namespace: str, entries: int) -> Object:
    rules = [
        {
            "host": f"{application(rng)}.{namespace}.example.com",
            "paths": [{"prefix": f"/{suffix(rng, 6)}", "service": application(rng), "weight": rng.randint(1, 100)}],
            "headers": {"set": {"x-team": rng.choice(_TEAMS)}, "remove": ["x-internal"]},
        }
        for _ in range(entries)
    ]
    meta = metadata(rng, application(rng), namespace)
    return managed(
        {"apiVersion": "routes.example.com/v1", "kind": "RouteTable", "metadata": meta, "spec": {"rules": rules}}
    )


def managed(value: Object, owned: Object | None = None) -> Object:
    """`value` with the managedFields that the API server adds: one entry a manager, every field named.

    `owned` is what the first manager applied; without it, everything but the status.
    """
    meta = value["metadata"]
    if owned is None:
        owned = {key: value[key] for key in ("metadata", "spec", "data") if key in value}
    entries = [("kubectl-client-side-apply", owned)]
    if value.get("status"):
        entries.append(("kube-controller-manager", {"status": value["status"]}))
    meta["managedFields"] = [
        {
            "manager": manager,
            "operation": "Update",
            "apiVersion": value["apiVersion"],
            "time": TIME,
            "fieldsType": "FieldsV1",
            "fieldsV1": _fields(part),
        }
        for manager, part in entries
    ]
    return value


_UNMANAGED = frozenset(
    {"name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"}
)
"""Of the metadata: what belongs to no manager."""


def _fields(value: Mapping[str, Any], *, top: bool = True) -> Object:
    """The set of owned fields of `value`, in the notation of `FieldsV1`."""
    found: Object = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            shown = {name: part for name, part in item.items() if not (top and name in _UNMANAGED)}
            found[f"f:{key}"] = _fields(shown, top=False)
        elif isinstance(item, list) and item and all(isinstance(part, Mapping) and "name" in part for part in item):
            found[f"f:{key}"] = _named(item)
        else:
            found[f"f:{key}"] = {}
    return found


def _named(items: Sequence[Mapping[str, Any]]) -> Object:
    return {f'k:{{"name":"{item["name"]}"}}': {".": {}} | _fields(item, top=False) for item in items}
