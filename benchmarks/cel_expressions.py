"""A hundred expressions as policies have them, and beside each what somebody would write by hand. Frozen.

From the catalogue: images, security contexts, resources, probes, environment, volumes, labels, scheduling. Each stands
alone, in the part of CEL that every implementation has; `$C` and the like are paths, written out in full on both sides. By
hand means plain Python for this one question on a decoded object: subscripts where CEL selects, `in` where it asks
`has`, generator expressions where it has macros, `re` where it matches, no checks of types and no limits.
"""

# ruff: noqa: E501 (a question a line)

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

By = Callable[[Any], Any]


class Pair(NamedTuple):
    """One question, twice."""

    cel: str
    hand: By


_TEXTS: tuple[tuple[str, str], ...] = (
    # images
    ("$C.all(c, !c.image.endsWith(':latest'))", "all(not c['image'].endswith(':latest') for c in $C)"),
    ("$C.all(c, c.image.contains(':') || c.image.contains('@'))", "all(':' in c['image'] or '@' in c['image'] for c in $C)"),
    ("$C.all(c, c.image.startsWith('registry.example.com/') || c.image.startsWith('mirror.example.org/'))",
     "all(c['image'].startswith('registry.example.com/') or c['image'].startswith('mirror.example.org/') for c in $C)"),
    ("$C.all(c, ['registry.example.com/', 'ghcr.io/', 'quay.io/'].exists(r, c.image.startsWith(r)))",
     "all(any(c['image'].startswith(r) for r in ('registry.example.com/', 'ghcr.io/', 'quay.io/')) for c in $C)"),
    ("$C.all(c, c.image.matches('@sha256:[a-f0-9]{64}$'))", "all(M('@sha256:[a-f0-9]{64}$', c['image']) for c in $C)"),
    ("$C.exists(c, c.image.contains('nginx'))", "any('nginx' in c['image'] for c in $C)"),
    ("$C.all(c, !(c.image in ['busybox', 'alpine', 'ubuntu', 'debian']))",
     "all(c['image'] not in ('busybox', 'alpine', 'ubuntu', 'debian') for c in $C)"),
    ("$C.all(c, !has(c.imagePullPolicy) || c.imagePullPolicy != 'Never')",
     "all('imagePullPolicy' not in c or c['imagePullPolicy'] != 'Never' for c in $C)"),
    ("$C.all(c, !c.image.endsWith(':latest') || (has(c.imagePullPolicy) && c.imagePullPolicy == 'Always'))",
     "all(not c['image'].endswith(':latest') or ('imagePullPolicy' in c and c['imagePullPolicy'] == 'Always') for c in $C)"),
    ("$C.map(c, c.image).all(i, size(i) < 200)", "all(len(i) < 200 for i in [c['image'] for c in $C])"),
    ("!has($S.initContainers) || $S.initContainers.all(c, !c.image.endsWith(':latest'))",
     "'initContainers' not in $S or all(not c['image'].endswith(':latest') for c in $S['initContainers'])"),
    ("$C.filter(c, c.image.startsWith('docker.io/')).size() == 0",
     "len([c for c in $C if c['image'].startswith('docker.io/')]) == 0"),
    # privileges
    ("$C.all(c, !has(c.securityContext) || !has(c.securityContext.privileged) || !c.securityContext.privileged)",
     "all('securityContext' not in c or 'privileged' not in c['securityContext'] or not c['securityContext']['privileged'] for c in $C)"),
    ("$C.all(c, has(c.securityContext) && has(c.securityContext.allowPrivilegeEscalation) && !c.securityContext.allowPrivilegeEscalation)",
     "all('securityContext' in c and 'allowPrivilegeEscalation' in c['securityContext'] and not c['securityContext']['allowPrivilegeEscalation'] for c in $C)"),
    ("$C.all(c, has(c.securityContext) && has(c.securityContext.readOnlyRootFilesystem) && c.securityContext.readOnlyRootFilesystem == true)",
     "all('securityContext' in c and 'readOnlyRootFilesystem' in c['securityContext'] and c['securityContext']['readOnlyRootFilesystem'] is True for c in $C)"),
    ("$C.all(c, has(c.securityContext) && has(c.securityContext.runAsNonRoot) && c.securityContext.runAsNonRoot)",
     "all('securityContext' in c and 'runAsNonRoot' in c['securityContext'] and c['securityContext']['runAsNonRoot'] for c in $C)"),
    ("$C.all(c, !has(c.securityContext) || !has(c.securityContext.runAsUser) || c.securityContext.runAsUser > 0)",
     "all('securityContext' not in c or 'runAsUser' not in c['securityContext'] or c['securityContext']['runAsUser'] > 0 for c in $C)"),
    ("$C.all(c, !has(c.securityContext) || !has(c.securityContext.runAsUser) || (c.securityContext.runAsUser >= 10000 && c.securityContext.runAsUser <= 65535))",
     "all('securityContext' not in c or 'runAsUser' not in c['securityContext'] or 10000 <= c['securityContext']['runAsUser'] <= 65535 for c in $C)"),
    ("$C.all(c, !has(c.securityContext) || !has(c.securityContext.capabilities) || !has(c.securityContext.capabilities.add) || c.securityContext.capabilities.add.all(k, k in ['NET_BIND_SERVICE', 'CHOWN']))",
     "all('securityContext' not in c or 'capabilities' not in c['securityContext'] or 'add' not in c['securityContext']['capabilities'] or all(k in ('NET_BIND_SERVICE', 'CHOWN') for k in c['securityContext']['capabilities']['add']) for c in $C)"),
    ("$C.all(c, has(c.securityContext) && has(c.securityContext.capabilities) && has(c.securityContext.capabilities.drop) && 'ALL' in c.securityContext.capabilities.drop)",
     "all('securityContext' in c and 'capabilities' in c['securityContext'] and 'drop' in c['securityContext']['capabilities'] and 'ALL' in c['securityContext']['capabilities']['drop'] for c in $C)"),
    ("$C.all(c, !has(c.securityContext) || !has(c.securityContext.capabilities) || !has(c.securityContext.capabilities.add) || !c.securityContext.capabilities.add.exists(k, k == 'SYS_ADMIN' || k == 'NET_RAW'))",
     "all('securityContext' not in c or 'capabilities' not in c['securityContext'] or 'add' not in c['securityContext']['capabilities'] or not any(k == 'SYS_ADMIN' or k == 'NET_RAW' for k in c['securityContext']['capabilities']['add']) for c in $C)"),
    ("!has($S.hostNetwork) || !$S.hostNetwork", "'hostNetwork' not in $S or not $S['hostNetwork']"),
    ("(!has($S.hostPID) || !$S.hostPID) && (!has($S.hostIPC) || !$S.hostIPC)",
     "('hostPID' not in $S or not $S['hostPID']) and ('hostIPC' not in $S or not $S['hostIPC'])"),
    ("has($S.securityContext) && has($S.securityContext.seccompProfile) && $S.securityContext.seccompProfile.type in ['RuntimeDefault', 'Localhost']",
     "'securityContext' in $S and 'seccompProfile' in $S['securityContext'] and $S['securityContext']['seccompProfile']['type'] in ('RuntimeDefault', 'Localhost')"),
    ("$C.all(c, !has(c.securityContext) || !has(c.securityContext.seccompProfile) || c.securityContext.seccompProfile.type != 'Unconfined')",
     "all('securityContext' not in c or 'seccompProfile' not in c['securityContext'] or c['securityContext']['seccompProfile']['type'] != 'Unconfined' for c in $C)"),
    ("$C.all(c, !has(c.securityContext) || !has(c.securityContext.procMount) || c.securityContext.procMount == 'Default')",
     "all('securityContext' not in c or 'procMount' not in c['securityContext'] or c['securityContext']['procMount'] == 'Default' for c in $C)"),
    ("!has($S.automountServiceAccountToken) || $S.automountServiceAccountToken == false",
     "'automountServiceAccountToken' not in $S or $S['automountServiceAccountToken'] is False"),
    ("has($S.serviceAccountName) && $S.serviceAccountName != 'default'",
     "'serviceAccountName' in $S and $S['serviceAccountName'] != 'default'"),
    ("has($S.serviceAccountName) && $S.serviceAccountName.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
     "'serviceAccountName' in $S and bool(M('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$', $S['serviceAccountName']))"),
    ("$C.filter(c, has(c.securityContext) && has(c.securityContext.privileged) && c.securityContext.privileged).map(c, c.name).size() == 0",
     "len([c['name'] for c in $C if 'securityContext' in c and 'privileged' in c['securityContext'] and c['securityContext']['privileged']]) == 0"),
    # resources
    ("$C.all(c, has(c.resources) && has(c.resources.limits) && 'memory' in c.resources.limits)",
     "all('resources' in c and 'limits' in c['resources'] and 'memory' in c['resources']['limits'] for c in $C)"),
    ("$C.all(c, has(c.resources) && has(c.resources.requests) && 'cpu' in c.resources.requests)",
     "all('resources' in c and 'requests' in c['resources'] and 'cpu' in c['resources']['requests'] for c in $C)"),
    ("$C.all(c, has(c.resources) && has(c.resources.requests) && has(c.resources.requests.memory))",
     "all('resources' in c and 'requests' in c['resources'] and 'memory' in c['resources']['requests'] for c in $C)"),
    ("$C.all(c, !has(c.resources) || !has(c.resources.limits) || !has(c.resources.limits.cpu))",
     "all('resources' not in c or 'limits' not in c['resources'] or 'cpu' not in c['resources']['limits'] for c in $C)"),
    ("$C.all(c, !has(c.resources) || !has(c.resources.limits) || !has(c.resources.limits.memory) || c.resources.limits.memory.matches('^[0-9]+(Mi|Gi)$'))",
     "all('resources' not in c or 'limits' not in c['resources'] or 'memory' not in c['resources']['limits'] or M('^[0-9]+(Mi|Gi)$', c['resources']['limits']['memory']) for c in $C)"),
    ("$C.all(c, !has(c.resources) || !has(c.resources.requests) || !has(c.resources.requests.cpu) || c.resources.requests.cpu.endsWith('m'))",
     "all('resources' not in c or 'requests' not in c['resources'] or 'cpu' not in c['resources']['requests'] or c['resources']['requests']['cpu'].endswith('m') for c in $C)"),
    ("$C.all(c, !has(c.resources) || !has(c.resources.limits) || !has(c.resources.requests) || c.resources.requests.all(k, !(k in c.resources.limits) || size(c.resources.requests[k]) > 0))",
     "all('resources' not in c or 'limits' not in c['resources'] or 'requests' not in c['resources'] or all(k not in c['resources']['limits'] or len(c['resources']['requests'][k]) > 0 for k in c['resources']['requests']) for c in $C)"),
    ("$C.exists(c, has(c.resources) && has(c.resources.limits) && 'nvidia.com/gpu' in c.resources.limits)",
     "any('resources' in c and 'limits' in c['resources'] and 'nvidia.com/gpu' in c['resources']['limits'] for c in $C)"),
    ("$C.all(c, !has(c.resources) || !has(c.resources.limits) || c.resources.limits.all(k, k in ['cpu', 'memory', 'ephemeral-storage']))",
     "all('resources' not in c or 'limits' not in c['resources'] or all(k in ('cpu', 'memory', 'ephemeral-storage') for k in c['resources']['limits']) for c in $C)"),
    ("$C.filter(c, !has(c.resources) || !has(c.resources.limits)).size() <= 2",
     "len([c for c in $C if 'resources' not in c or 'limits' not in c['resources']]) <= 2"),
    # probes and ends
    ("$C.all(c, has(c.readinessProbe))", "all('readinessProbe' in c for c in $C)"),
    ("$C.all(c, has(c.livenessProbe) || has(c.startupProbe))", "all('livenessProbe' in c or 'startupProbe' in c for c in $C)"),
    ("$C.all(c, !has(c.livenessProbe) || !has(c.livenessProbe.periodSeconds) || c.livenessProbe.periodSeconds >= 5)",
     "all('livenessProbe' not in c or 'periodSeconds' not in c['livenessProbe'] or c['livenessProbe']['periodSeconds'] >= 5 for c in $C)"),
    ("$C.all(c, !has(c.livenessProbe) || !has(c.livenessProbe.failureThreshold) || !has(c.livenessProbe.periodSeconds) || c.livenessProbe.failureThreshold * c.livenessProbe.periodSeconds >= 20)",
     "all('livenessProbe' not in c or 'failureThreshold' not in c['livenessProbe'] or 'periodSeconds' not in c['livenessProbe'] or c['livenessProbe']['failureThreshold'] * c['livenessProbe']['periodSeconds'] >= 20 for c in $C)"),
    ("$C.all(c, !has(c.livenessProbe) || !has(c.readinessProbe) || c.livenessProbe != c.readinessProbe)",
     "all('livenessProbe' not in c or 'readinessProbe' not in c or c['livenessProbe'] != c['readinessProbe'] for c in $C)"),
    ("$C.all(c, !has(c.readinessProbe) || !has(c.readinessProbe.httpGet) || c.readinessProbe.httpGet.path.startsWith('/'))",
     "all('readinessProbe' not in c or 'httpGet' not in c['readinessProbe'] or c['readinessProbe']['httpGet']['path'].startswith('/') for c in $C)"),
    ("$C.all(c, !has(c.readinessProbe) || !has(c.readinessProbe.httpGet) || !has(c.readinessProbe.httpGet.scheme) || c.readinessProbe.httpGet.scheme in ['HTTP', 'HTTPS'])",
     "all('readinessProbe' not in c or 'httpGet' not in c['readinessProbe'] or 'scheme' not in c['readinessProbe']['httpGet'] or c['readinessProbe']['httpGet']['scheme'] in ('HTTP', 'HTTPS') for c in $C)"),
    ("$C.all(c, !has(c.livenessProbe) || !has(c.livenessProbe.timeoutSeconds) || !has(c.livenessProbe.periodSeconds) || c.livenessProbe.timeoutSeconds <= c.livenessProbe.periodSeconds)",
     "all('livenessProbe' not in c or 'timeoutSeconds' not in c['livenessProbe'] or 'periodSeconds' not in c['livenessProbe'] or c['livenessProbe']['timeoutSeconds'] <= c['livenessProbe']['periodSeconds'] for c in $C)"),
    ("!has($S.terminationGracePeriodSeconds) || ($S.terminationGracePeriodSeconds >= 5 && $S.terminationGracePeriodSeconds <= 600)",
     "'terminationGracePeriodSeconds' not in $S or 5 <= $S['terminationGracePeriodSeconds'] <= 600"),
    ("$C.all(c, !has(c.lifecycle) || !has(c.lifecycle.preStop) || !has(c.lifecycle.preStop.exec) || size(c.lifecycle.preStop.exec.command) > 0)",
     "all('lifecycle' not in c or 'preStop' not in c['lifecycle'] or 'exec' not in c['lifecycle']['preStop'] or len(c['lifecycle']['preStop']['exec']['command']) > 0 for c in $C)"),
    # environment
    ("$C.all(c, !has(c.env) || c.env.all(e, !has(e.value) || !e.name.matches('(^|_)(PASSWORD|TOKEN|SECRET|API_KEY)$')))",
     "all('env' not in c or all('value' not in e or not M('(^|_)(PASSWORD|TOKEN|SECRET|API_KEY)$', e['name']) for e in c['env']) for c in $C)"),
    ("$C.all(c, !has(c.env) || c.env.all(e, e.name != 'LD_PRELOAD'))", "all('env' not in c or all(e['name'] != 'LD_PRELOAD' for e in c['env']) for c in $C)"),
    ("$C.all(c, !has(c.env) || c.env.all(e, !has(e.value) || !e.value.contains('AKIA')))",
     "all('env' not in c or all('value' not in e or 'AKIA' not in e['value'] for e in c['env']) for c in $C)"),
    ("$C.all(c, !has(c.env) || c.env.all(e, !has(e.valueFrom) || !has(e.valueFrom.secretKeyRef) || e.valueFrom.secretKeyRef.name != ''))",
     "all('env' not in c or all('valueFrom' not in e or 'secretKeyRef' not in e['valueFrom'] or e['valueFrom']['secretKeyRef']['name'] != '' for e in c['env']) for c in $C)"),
    ("$C.all(c, !has(c.env) || c.env.exists(e, e.name == 'POD_NAME'))", "all('env' not in c or any(e['name'] == 'POD_NAME' for e in c['env']) for c in $C)"),
    ("$C.all(c, !has(c.env) || size(c.env) <= 50)", "all('env' not in c or len(c['env']) <= 50 for c in $C)"),
    ("$C.all(c, !has(c.env) || c.env.all(e, e.name.matches('^[A-Z_][A-Z0-9_]*$')))",
     "all('env' not in c or all(M('^[A-Z_][A-Z0-9_]*$', e['name']) for e in c['env']) for c in $C)"),
    ("$C.all(c, !has(c.env) || c.env.all(e, !has(e.value) || size(e.value) < 4096))",
     "all('env' not in c or all('value' not in e or len(e['value']) < 4096 for e in c['env']) for c in $C)"),
    ("$C.all(c, !has(c.env) || c.env.filter(e, e.name.startsWith('HTTP_')).size() < 5)",
     "all('env' not in c or len([e for e in c['env'] if e['name'].startswith('HTTP_')]) < 5 for c in $C)"),
    ("$C.all(c, !has(c.env) || c.env.all(e, has(e.value) != has(e.valueFrom) || !has(e.valueFrom)))",
     "all('env' not in c or all(('value' in e) != ('valueFrom' in e) or 'valueFrom' not in e for e in c['env']) for c in $C)"),
    ("$C.all(c, !has(c.args) || c.args.all(a, !a.startsWith('--insecure')))",
     "all('args' not in c or all(not a.startswith('--insecure') for a in c['args']) for c in $C)"),
    ("$C.all(c, !has(c.envFrom) || c.envFrom.all(e, !has(e.secretRef)))",
     "all('envFrom' not in c or all('secretRef' not in e for e in c['envFrom']) for c in $C)"),
    # ports
    ("$C.all(c, !has(c.ports) || c.ports.all(p, !has(p.hostPort) || p.hostPort == 0))",
     "all('ports' not in c or all('hostPort' not in p or p['hostPort'] == 0 for p in c['ports']) for c in $C)"),
    ("$C.all(c, !has(c.ports) || c.ports.all(p, p.containerPort >= 1024))",
     "all('ports' not in c or all(p['containerPort'] >= 1024 for p in c['ports']) for c in $C)"),
    ("$C.all(c, !has(c.ports) || c.ports.all(p, has(p.name) && size(p.name) <= 15))",
     "all('ports' not in c or all('name' in p and len(p['name']) <= 15 for p in c['ports']) for c in $C)"),
    ("$C.all(c, !has(c.ports) || c.ports.all(p, !has(p.protocol) || p.protocol in ['TCP', 'UDP']))",
     "all('ports' not in c or all('protocol' not in p or p['protocol'] in ('TCP', 'UDP') for p in c['ports']) for c in $C)"),
    ("$C.all(c, !has(c.ports) || !c.ports.exists(p, p.containerPort == 22))",
     "all('ports' not in c or not any(p['containerPort'] == 22 for p in c['ports']) for c in $C)"),
    ("$C.all(c, !has(c.ports) || c.ports.map(p, p.containerPort).all(n, n != 2375 && n != 2376))",
     "all('ports' not in c or all(n != 2375 and n != 2376 for n in [p['containerPort'] for p in c['ports']]) for c in $C)"),
    # volumes
    ("!has($S.volumes) || $S.volumes.all(v, !has(v.hostPath))", "'volumes' not in $S or all('hostPath' not in v for v in $S['volumes'])"),
    ("!has($S.volumes) || $S.volumes.all(v, !has(v.hostPath) || !v.hostPath.path.startsWith('/var/run/docker.sock'))",
     "'volumes' not in $S or all('hostPath' not in v or not v['hostPath']['path'].startswith('/var/run/docker.sock') for v in $S['volumes'])"),
    ("!has($S.volumes) || $S.volumes.all(v, !has(v.emptyDir) || has(v.emptyDir.sizeLimit))",
     "'volumes' not in $S or all('emptyDir' not in v or 'sizeLimit' in v['emptyDir'] for v in $S['volumes'])"),
    ("!has($S.volumes) || $S.volumes.all(v, has(v.configMap) || has(v.emptyDir) || has(v.secret) || has(v.projected) || has(v.persistentVolumeClaim) || has(v.csi))",
     "'volumes' not in $S or all('configMap' in v or 'emptyDir' in v or 'secret' in v or 'projected' in v or 'persistentVolumeClaim' in v or 'csi' in v for v in $S['volumes'])"),
    ("$C.all(c, !has(c.volumeMounts) || c.volumeMounts.all(m, !m.mountPath.startsWith('/etc/kubernetes')))",
     "all('volumeMounts' not in c or all(not m['mountPath'].startswith('/etc/kubernetes') for m in c['volumeMounts']) for c in $C)"),
    ("$C.all(c, !has(c.volumeMounts) || c.volumeMounts.all(m, !has(m.mountPropagation) || m.mountPropagation != 'Bidirectional'))",
     "all('volumeMounts' not in c or all('mountPropagation' not in m or m['mountPropagation'] != 'Bidirectional' for m in c['volumeMounts']) for c in $C)"),
    ("$C.all(c, !has(c.volumeMounts) || c.volumeMounts.all(m, $S.volumes.exists(v, v.name == m.name)))",
     "all('volumeMounts' not in c or all(any(v['name'] == m['name'] for v in $S['volumes']) for m in c['volumeMounts']) for c in $C)"),
    ("$C.all(c, !has(c.volumeMounts) || c.volumeMounts.exists_one(m, m.mountPath == '/tmp') || !c.volumeMounts.exists(m, m.mountPath == '/tmp'))",
     "all('volumeMounts' not in c or sum(1 for m in c['volumeMounts'] if m['mountPath'] == '/tmp') == 1 or not any(m['mountPath'] == '/tmp' for m in c['volumeMounts']) for c in $C)"),
    ("!has($S.volumes) || $S.volumes.all(v, !has(v.secret) || !has(v.secret.defaultMode) || v.secret.defaultMode <= 420)",
     "'volumes' not in $S or all('secret' not in v or 'defaultMode' not in v['secret'] or v['secret']['defaultMode'] <= 420 for v in $S['volumes'])"),
    # labels, annotations, names
    ("has(object.metadata.labels) && 'app.kubernetes.io/name' in object.metadata.labels",
     "'labels' in o['metadata'] and 'app.kubernetes.io/name' in o['metadata']['labels']"),
    ("has(object.metadata.labels) && ['team', 'app.kubernetes.io/name', 'app.kubernetes.io/version'].all(k, k in object.metadata.labels)",
     "'labels' in o['metadata'] and all(k in o['metadata']['labels'] for k in ('team', 'app.kubernetes.io/name', 'app.kubernetes.io/version'))"),
    ("has(object.metadata.labels) && has(object.metadata.labels.team) && object.metadata.labels.team in ['payments', 'storefront', 'platform', 'data', 'identity', 'growth']",
     "'labels' in o['metadata'] and 'team' in o['metadata']['labels'] and o['metadata']['labels']['team'] in ('payments', 'storefront', 'platform', 'data', 'identity', 'growth')"),
    ("!has(object.metadata.labels) || object.metadata.labels.all(k, size(object.metadata.labels[k]) <= 63)",
     "'labels' not in o['metadata'] or all(len(o['metadata']['labels'][k]) <= 63 for k in o['metadata']['labels'])"),
    ("!has(object.metadata.labels) || object.metadata.labels.all(k, object.metadata.labels[k].matches('^[A-Za-z0-9._-]*$'))",
     "'labels' not in o['metadata'] or all(M('^[A-Za-z0-9._-]*$', o['metadata']['labels'][k]) for k in o['metadata']['labels'])"),
    ("!has(object.metadata.annotations) || !object.metadata.annotations.exists(k, k.startsWith('seccomp.security.alpha.kubernetes.io/'))",
     "'annotations' not in o['metadata'] or not any(k.startswith('seccomp.security.alpha.kubernetes.io/') for k in o['metadata']['annotations'])"),
    ("object.metadata.name.matches('^[a-z][a-z0-9-]{1,50}$')", "bool(M('^[a-z][a-z0-9-]{1,50}$', o['metadata']['name']))"),
    ("object.metadata.name.startsWith('search') || object.metadata.namespace.endsWith('-prod')",
     "o['metadata']['name'].startswith('search') or o['metadata']['namespace'].endswith('-prod')"),
    ("!(object.metadata.namespace in ['default', 'kube-system', 'kube-public'])",
     "o['metadata']['namespace'] not in ('default', 'kube-system', 'kube-public')"),
    ("object.spec.selector.matchLabels.all(k, k in object.spec.template.metadata.labels && object.spec.template.metadata.labels[k] == object.spec.selector.matchLabels[k])",
     "all(k in o['spec']['template']['metadata']['labels'] and o['spec']['template']['metadata']['labels'][k] == o['spec']['selector']['matchLabels'][k] for k in o['spec']['selector']['matchLabels'])"),
    # replicas, strategy, scheduling
    ("has(object.spec.replicas) && object.spec.replicas >= 2", "'replicas' in o['spec'] and o['spec']['replicas'] >= 2"),
    ("!has(object.spec.replicas) || object.spec.replicas <= 100", "'replicas' not in o['spec'] or o['spec']['replicas'] <= 100"),
    ("!has(object.spec.strategy) || !has(object.spec.strategy.type) || object.spec.strategy.type == 'RollingUpdate'",
     "'strategy' not in o['spec'] or 'type' not in o['spec']['strategy'] or o['spec']['strategy']['type'] == 'RollingUpdate'"),
    ("!has(object.spec.revisionHistoryLimit) || (object.spec.revisionHistoryLimit > 0 && object.spec.revisionHistoryLimit < 20)",
     "'revisionHistoryLimit' not in o['spec'] or 0 < o['spec']['revisionHistoryLimit'] < 20"),
    ("has(object.spec.replicas) && object.spec.replicas > 1 ? has($S.affinity) || has($S.topologySpreadConstraints) : true",
     "('affinity' in $S or 'topologySpreadConstraints' in $S) if 'replicas' in o['spec'] and o['spec']['replicas'] > 1 else True"),
    ("!has($S.priorityClassName) || !$S.priorityClassName.startsWith('system-')",
     "'priorityClassName' not in $S or not $S['priorityClassName'].startswith('system-')"),
    ("!has($S.nodeName)", "'nodeName' not in $S"),
    ("!has($S.tolerations) || $S.tolerations.all(t, has(t.key) && t.key != '')",
     "'tolerations' not in $S or all('key' in t and t['key'] != '' for t in $S['tolerations'])"),
    ("!has($S.dnsPolicy) || $S.dnsPolicy in ['ClusterFirst', 'Default', 'None']",
     "'dnsPolicy' not in $S or $S['dnsPolicy'] in ('ClusterFirst', 'Default', 'None')"),
    ("!has($S.nodeSelector) || !('kubernetes.io/hostname' in $S.nodeSelector)",
     "'nodeSelector' not in $S or 'kubernetes.io/hostname' not in $S['nodeSelector']"),
    ("size($C) <= 150 && $C[0].name != 'istio-proxy'", "len($C) <= 150 and $C[0]['name'] != 'istio-proxy'"),
    ("$C.map(c, c.name).all(n, n.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'))",
     "all(M('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$', n) for n in [c['name'] for c in $C])"),
    ("!has(object.spec.minReadySeconds) || double(object.spec.minReadySeconds) < 120.5",
     "'minReadySeconds' not in o['spec'] or float(o['spec']['minReadySeconds']) < 120.5"),
)  # fmt: skip

_PATHS = {
    "$C": ("object.spec.template.spec.containers", "o['spec']['template']['spec']['containers']"),
    "$S": ("object.spec.template.spec", "o['spec']['template']['spec']"),
}


def pairs() -> list[Pair]:
    """The hundred, ready to ask."""
    return [_pair(cel, hand) for cel, hand in _TEXTS]


def _pair(cel: str, hand: str) -> Pair:
    for short, (path, subscripts) in _PATHS.items():
        cel, hand = cel.replace(short, path), hand.replace(short, subscripts)
    names: dict[str, Any] = {}

    def search(match: re.Match[str]) -> str:
        name = f"m{len(names)}"
        names[name] = re.compile(match[1]).search
        return f"{name}("

    source = re.sub(r"\bM\('([^']*)', ", search, hand)
    return Pair(cel, eval(f"lambda o: {source}", names))  # noqa: S307 (the texts above, and nothing else)
