"""Which Kubernetes API versions are deprecated and removed when, and what to use instead.

For what the API server does not say itself: it marks requests to deprecated APIs, but not which version replaces them,
and not those that its own release does not deprecate yet. Data, and a look-up.

Source: `APILifecycleDeprecated/Removed/Replacement` of `kubernetes/api` v0.19 to v0.37. Removed is the first release
that does not serve the version any more. Alphas and betas that nobody can have called unless they were switched on are
in it as well.
"""

from __future__ import annotations

from msgspec import Struct


class Lifecycle(Struct, frozen=True):
    """Of one resource in one version. Releases are minors of Kubernetes 1; 0 is not known, or not decided."""

    deprecated: int
    removed: int
    replacement: str
    """`group/version`, or what else to do; empty when there is nothing."""


_ADMISSION, _FLOW = "admissionregistration.k8s.io", "flowcontrol.apiserver.k8s.io"
_ROLES = "roles rolebindings clusterroles clusterrolebindings"
_REVIEWS = "subjectaccessreviews localsubjectaccessreviews selfsubjectaccessreviews selfsubjectrulesreviews"
_DRA = "deviceclasses resourceclaims resourceclaimtemplates resourceslices"
_VAP = "validatingadmissionpolicies validatingadmissionpolicybindings"
_MAP = "mutatingadmissionpolicies mutatingadmissionpolicybindings"

_ROWS: tuple[tuple[str, str, str, int, int, str], ...] = (
    ("apps", "v1beta1", "deployments statefulsets controllerrevisions", 8, 16, "apps/v1"),
    ("apps", "v1beta2", "deployments statefulsets daemonsets replicasets controllerrevisions", 9, 16, "apps/v1"),
    ("extensions", "v1beta1", "deployments daemonsets replicasets", 8, 16, "apps/v1"),
    ("extensions", "v1beta1", "networkpolicies", 9, 16, "networking.k8s.io/v1"),
    ("extensions", "v1beta1", "podsecuritypolicies", 11, 16, "Pod Security admission"),
    ("extensions", "v1beta1", "ingresses", 14, 22, "networking.k8s.io/v1"),
    (_FLOW, "v1alpha1", "flowschemas prioritylevelconfigurations", 20, 21, f"{_FLOW}/v1"),
    ("networking.k8s.io", "v1beta1", "ingresses ingressclasses", 19, 22, "networking.k8s.io/v1"),
    (
        _ADMISSION,
        "v1beta1",
        "mutatingwebhookconfigurations validatingwebhookconfigurations",
        16,
        22,
        f"{_ADMISSION}/v1",
    ),
    ("apiextensions.k8s.io", "v1beta1", "customresourcedefinitions", 16, 22, "apiextensions.k8s.io/v1"),
    ("apiregistration.k8s.io", "v1beta1", "apiservices", 19, 22, "apiregistration.k8s.io/v1"),
    ("authentication.k8s.io", "v1beta1", "tokenreviews", 19, 22, "authentication.k8s.io/v1"),
    ("authorization.k8s.io", "v1beta1", _REVIEWS, 19, 22, "authorization.k8s.io/v1"),
    ("certificates.k8s.io", "v1beta1", "certificatesigningrequests", 19, 22, "certificates.k8s.io/v1"),
    ("coordination.k8s.io", "v1beta1", "leases", 19, 22, "coordination.k8s.io/v1"),
    ("rbac.authorization.k8s.io", "v1beta1", _ROLES, 17, 22, "rbac.authorization.k8s.io/v1"),
    ("rbac.authorization.k8s.io", "v1alpha1", _ROLES, 17, 22, "rbac.authorization.k8s.io/v1"),
    ("scheduling.k8s.io", "v1beta1", "priorityclasses", 14, 22, "scheduling.k8s.io/v1"),
    ("scheduling.k8s.io", "v1alpha1", "priorityclasses", 14, 22, "scheduling.k8s.io/v1"),
    ("storage.k8s.io", "v1beta1", "csidrivers storageclasses volumeattachments", 19, 22, "storage.k8s.io/v1"),
    ("storage.k8s.io", "v1beta1", "csinodes", 17, 22, "storage.k8s.io/v1"),
    ("storage.k8s.io", "v1alpha1", "csistoragecapacities volumeattachments", 21, 24, "storage.k8s.io/v1"),
    ("batch", "v1beta1", "cronjobs", 21, 25, "batch/v1"),
    ("discovery.k8s.io", "v1beta1", "endpointslices", 21, 25, "discovery.k8s.io/v1"),
    ("events.k8s.io", "v1beta1", "events", 22, 25, "events.k8s.io/v1"),
    ("autoscaling", "v2beta1", "horizontalpodautoscalers", 22, 25, "autoscaling/v2"),
    ("policy", "v1beta1", "poddisruptionbudgets", 21, 25, "policy/v1"),
    ("policy", "v1beta1", "podsecuritypolicies", 21, 25, "Pod Security admission"),
    ("node.k8s.io", "v1beta1", "runtimeclasses", 22, 25, "node.k8s.io/v1"),
    ("autoscaling", "v2beta2", "horizontalpodautoscalers", 23, 26, "autoscaling/v2"),
    (_FLOW, "v1beta1", "flowschemas prioritylevelconfigurations", 23, 26, f"{_FLOW}/v1"),
    ("storage.k8s.io", "v1beta1", "csistoragecapacities", 24, 27, "storage.k8s.io/v1"),
    (_FLOW, "v1beta2", "flowschemas prioritylevelconfigurations", 26, 29, f"{_FLOW}/v1"),
    ("networking.k8s.io", "v1alpha1", "clustercidrs", 28, 31, ""),
    (_FLOW, "v1beta3", "flowschemas prioritylevelconfigurations", 29, 32, f"{_FLOW}/v1"),
    (_ADMISSION, "v1alpha1", _VAP, 29, 32, f"{_ADMISSION}/v1"),
    ("authentication.k8s.io", "v1alpha1", "selfsubjectreviews", 29, 32, "authentication.k8s.io/v1"),
    ("coordination.k8s.io", "v1alpha1", "leasecandidates", 0, 32, "coordination.k8s.io/v1beta1"),
    ("authentication.k8s.io", "v1beta1", "selfsubjectreviews", 30, 33, "authentication.k8s.io/v1"),
    ("networking.k8s.io", "v1alpha1", "ipaddresses servicecidrs", 30, 33, "networking.k8s.io/v1"),
    (_ADMISSION, "v1beta1", _VAP, 31, 34, f"{_ADMISSION}/v1"),
    ("resource.k8s.io", "v1alpha3", _DRA, 34, 34, "resource.k8s.io/v1"),
    ("storage.k8s.io", "v1alpha1", "volumeattributesclasses", 32, 35, "storage.k8s.io/v1"),
    (
        "storagemigration.k8s.io",
        "v1alpha1",
        "storageversionmigrations",
        33,
        35,
        "storagemigration.k8s.io/v1",
    ),
    ("certificates.k8s.io", "v1alpha1", "podcertificaterequests", 0, 35, "certificates.k8s.io/v1"),
    ("certificates.k8s.io", "v1alpha1", "clustertrustbundles", 34, 37, "certificates.k8s.io/v1"),
    ("networking.k8s.io", "v1beta1", "ipaddresses servicecidrs", 34, 37, "networking.k8s.io/v1"),
    ("storage.k8s.io", "v1beta1", "volumeattributesclasses", 34, 37, "storage.k8s.io/v1"),
    (_ADMISSION, "v1alpha1", _MAP, 35, 38, f"{_ADMISSION}/v1"),
    ("coordination.k8s.io", "v1alpha2", "leasecandidates", 35, 38, "coordination.k8s.io/v1beta1"),
    ("resource.k8s.io", "v1beta1", _DRA, 35, 38, "resource.k8s.io/v1"),
    ("resource.k8s.io", "v1beta2", _DRA, 36, 39, "resource.k8s.io/v1"),
    ("resource.k8s.io", "v1alpha3", "devicetaintrules", 36, 39, "resource.k8s.io/v1"),
    ("coordination.k8s.io", "v1beta1", "leasecandidates", 36, 39, ""),
    (_ADMISSION, "v1beta1", _MAP, 37, 40, f"{_ADMISSION}/v1"),
    (
        "certificates.k8s.io",
        "v1beta1",
        "clustertrustbundles podcertificaterequests",
        37,
        40,
        "certificates.k8s.io/v1",
    ),
    ("storagemigration.k8s.io", "v1beta1", "storageversionmigrations", 37, 40, "storagemigration.k8s.io/v1"),
    ("resource.k8s.io", "v1alpha3", "resourcepoolstatusrequests", 39, 42, ""),
    ("resource.k8s.io", "v1beta2", "devicetaintrules", 39, 42, "resource.k8s.io/v1"),
    ("scheduling.k8s.io", "v1beta1", "podgroups workloads", 40, 43, ""),
    ("lifecycle.k8s.io", "v1alpha1", "evictions evictionrequests", 40, 43, ""),
    ("", "v1", "componentstatuses", 19, 0, "the components' own health endpoints"),
    ("", "v1", "endpoints", 33, 0, "discovery.k8s.io/v1 (EndpointSlice)"),
)

KNOWN: dict[tuple[str, str, str], Lifecycle] = {
    (group, version, resource): Lifecycle(deprecated, removed, replacement)
    for group, version, resources, deprecated, removed, replacement in _ROWS
    for resource in resources.split()
}
"""(group, version, resource) → its lifecycle. What is not in it was never deprecated, or is not Kubernetes' own."""

NEWEST = 37
"""The last release whose removals are certain; of later ones only what was announced."""
