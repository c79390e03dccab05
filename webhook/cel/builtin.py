"""Built-in kinds of Kubernetes 1.37: names of fields that hold lists, maps or structs, found by walking the Go types of
its scheme (`legacyscheme.Scheme.AllKnownTypes`), and the way from a variable to such a field. `image` is missing: it is
a text wherever a policy looks."""

from __future__ import annotations

from typing import Any, Final

import msgspec


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


FLAT: Final = _names(
    """
    accessModes add admissionReviewVersions allocatedResourceStatuses allocatedResources annotations apiGroups
    apiVersions args attachmentMetadata audiences binaryData bindMountOptions bindingConditions
    bindingFailureConditions bools categories cidrs clusterIPs command compatibilityGroups consumedCapacity data
    declaredFeatures decodableVersions default defaultRequest deprecatedTopology disableResizePreemption
    disruptedPods drop dryRun except externalIPs failed finalizers hard hostnames hosts ints ipFamilies ips
    labels loadBalancerSourceRanges matchLabelKeys matchLabels max maxLimitRequestRatio min mismatchLabelKeys
    monitors mountOptions names nameservers namespaces nonResourceURLs operations podCIDRs podFixed policyTypes
    portals resourceNames scopes searches servedVersions shortNames skipNodeOperations stringData strings
    succeeded supplementalGroups targetWWNs topologyKeys unverifiedUserAnnotations updatedAnnotations usages
    used userAnnotations validValues validationActions values verbs volumeAttributes volumeLifecycleModes
    volumesInUse warnings wwids
    """
)
"""Whose elements, or values, are neither lists, maps nor structs."""

DEEP: Final = _names(
    """
    active addresses affinity aggregationRule all allocatable allocatedResourcesStatus allocation
    allowedTopologies appArmorProfile applyConfiguration assigned attachError attestations attributes
    auditAnnotations awsElasticBlockStore azureDisk azureFile backend basic behavior boundObjectRef capabilities
    capacity causes cel cephfs cinder claimRef claims clientConfig clientIP clusterRoleSelectors
    clusterTrustBundle compositePodGroupTemplates conditions config configMap configMapKeyRef configMapRef
    configSource constraints consumesCounters containerResource containerStatuses containers
    controllerExpandSecretRef controllerPublishSecretRef controllerRef counters csi current currentMetrics
    daemonEndpoints dataSource dataSourceRef defaultBackend deleteOptions deprecatedSource derivedAttributes
    describedObject detachError details deviceSelector devices disruptionMode distinguisherMethod dnsConfig
    downwardAPI drivers egress emptyDir endpoints env envFrom ephemeral ephemeralContainerStatuses
    ephemeralContainers evictionResponders exactly excludeResourceRules exec exempt exitCodes expressionWarnings
    extendedResourceClaimStatus external extra fc features fieldRef fieldSelector fileKeyRef firstAvailable
    flexVolume flocker forNodes forZones from gang gcePersistentDisk gitRepo glusterfs group groups grpc
    healthConditions healthStatus hints hostAliases hostIPs hostPath http httpGet httpHeaders imagePullSecrets
    images ingress initContainerStatuses initContainers inlineVolumeSpec involvedObject ipBlock iscsi items
    jobTemplate jsonPatch kind kubeletEndpoint labelSelector lastKnownGood lastState lifecycle limitResponse
    limited limits linux livenessProbe loadBalancer local managedFields mapping matchConditions matchConstraints
    matchExpressions matchFields matchLabelExpressions matchResources metadata metric metrics modifyVolumeStatus
    mutations namespaceSelector networkData nfs nodeAffinity nodeAllocatableResourceClaimStatuses
    nodeAllocatableResources nodeExpandSecretRef nodeInfo nodePublishSecretRef nodeSelector nodeSelectorTerms
    nodeStageSecretRef nodeTopology nonResourceAttributes nonResourceRules notReadyAddresses object
    objectSelector onExitCodes onPodConditions opaque options ordinals os overhead ownerReferences paramKind
    paramRef parameters parentRef partitionSummary paths persistentVolumeClaim
    persistentVolumeClaimRetentionPolicy photonPersistentDisk pod podAffinity podAffinityTerm podAntiAffinity
    podCertificate podFailurePolicy podGroupTemplates podIPs podPreemptionPolicy podSelector pods policies pool
    pools port ports portworxVolume postStart preStop preconditions preference
    preferredDuringSchedulingIgnoredDuringExecution preferredVersion priorityLevelConfiguration projected
    queuing quobyte rbd readinessGates readinessProbe reference regarding related request requestKind
    requestMappings requestPolicy requestResource requesters requests required
    requiredDuringSchedulingIgnoredDuringExecution requirements reservedFor resizePolicy resource
    resourceAttributes resourceClaimStatuses resourceClaims resourceFieldRef resourceRules resources responders
    response restartPolicyRules results roleRef rollbackTo rollingUpdate rules running runtimeHandlers scaleDown
    scaleIO scaleTargetRef scaleUp scheduling schedulingConstraints schedulingGates schedulingGroup
    schedulingPolicy scopeSelector seLinuxOptions seccompProfile secret secretKeyRef secretRef secrets
    securityContext selector selectors series serverAddressByClientCIDRs service serviceAccount
    serviceAccountToken sessionAffinityConfig shardInfo shareableSummary sharedCounters single sleep source
    sources spec startupProbe state status storageHealth storageVersions storageos strategy subjects subsets
    successPolicy swap sysctls taint taints target targetRef targetResponders tcpSocket template terminated tls
    to tokenRequests tolerations topology topologySpreadConstraints typeChecking uncountedTerminatedPods
    updateStrategy user userInfo validRange validations valueFrom variables versions volumeClaimTemplate
    volumeClaimTemplates volumeDevices volumeHealth volumeMounts volumeStatus volumes volumesAttached
    vsphereVolume waiting webhooks windowsOptions workloadRef
    """
)
"""Whose elements may be such, or that are structs themselves."""

GROUPS: Final = _names(
    """
    admissionregistration.k8s.io apiextensions.k8s.io apiregistration.k8s.io apps authentication.k8s.io
    authorization.k8s.io autoscaling batch certificates.k8s.io coordination.k8s.io discovery.k8s.io
    events.k8s.io flowcontrol.apiserver.k8s.io internal.apiserver.k8s.io lifecycle.k8s.io networking.k8s.io
    node.k8s.io policy rbac.authorization.k8s.io resource.k8s.io scheduling.k8s.io storage.k8s.io
    storagemigration.k8s.io
    """
) | {""}
"""API groups of which all kinds are built in."""

QUANTITIES: Final = _names(
    """
    allocatable allocatedResources capacity consumedCapacity default defaultRequest hard limits max
    maxLimitRequestRatio min overhead podFixed requests used
    """
)
"""Maps of quantities."""

QUANTITY: Final = _names(
    """
    averageValue capacity currentAverageValue currentValue divisor maximumVolumeSize sizeLimit
    targetAverageValue targetValue tolerance
    """
)
"""Fields that are quantities, those of devices apart. (`value` is one in the target of an autoscaler.)"""


class Origin(msgspec.Struct, frozen=True):
    """The way to a value, as far as it is known when an expression is compiled."""

    root: str
    """The attribute of the activation that it is part of."""
    field: str = ""
    """The last field on the way; empty: not known."""
    element: bool = False
    """Whether it is an element, or value, of what the field holds."""
    default: bool = False
    """Whether it may as well be a value that the expression has in its place."""

    @property
    def holds(self) -> bool:
        """Whether it may be a list, map or struct."""
        if not self.field:
            return True
        if self.field == "kind" and self.root != "request":
            return False
        return self.field in DEEP or (self.field in FLAT and not self.element)

    def typed(self, activation: Any) -> bool:
        """Whether the server holds it in Go's types."""
        if self.root == "object":
            held = activation.object
        elif self.root == "old_object":
            held = activation.old_object
        else:
            return True
        version = held.get("apiVersion") if held.__class__ is dict else None
        return version.__class__ is str and version.rpartition("/")[0] in GROUPS
