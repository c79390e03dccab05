"""The loader against the real server: manifests with one thing changed are refused by both or by neither, and for the
same field. Each is created as a dry run, with strict field validation, as `kubectl apply` asks for it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.plane.binaries import RELEASE
from tests.e2e.plane.cluster import Cluster
from webhook.cel.releases import parse_version
from webhook.cel.versions import Version
from webhook.errors import Problem
from webhook.manifest import build
from webhook.manifest.fields import read_binding, read_policy
from webhook.yamlfile import Document

Path_ = tuple[str | int, ...]
Mutant = tuple[Path_, Any]
GONE = object()

RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
POLICY: dict[str, Any] = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicy",
    "metadata": {"name": "p.example.com"},
    "spec": {
        "failurePolicy": "Fail",
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": {"resourceRules": [RULE]},
        "matchConditions": [{"name": "a", "expression": "true"}],
        "variables": [{"name": "x", "expression": "1"}],
        "validations": [
            {"expression": "variables.x == 1", "message": "m", "messageExpression": "'a'", "reason": "Invalid"}
        ],
        "auditAnnotations": [{"key": "k", "valueExpression": "'v'"}],
    },
}
BINDING: dict[str, Any] = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicyBinding",
    "metadata": {"name": "b"},
    "spec": {
        "policyName": "p.example.com",
        "validationActions": ["Deny"],
        "paramRef": {"name": "n", "namespace": "ns", "parameterNotFoundAction": "Allow"},
        "matchResources": {"resourceRules": [RULE]},
    },
}
NAMES = (
    *("", "a", "A", "a.b", "a_b", "-a", "a-", "a" * 253, "a" * 254, "a/b", "a..b", "\u00e9", ".a", "a ", "1", "a" * 63),
    *(
        "a" * 64,
        "x/" + "a" * 63,
        "x/" + "a" * 64,
        "x/y/z",
        "/a",
        "a/",
        "kubernetes.io/a",
        "a.",
        "A_b.C-d",
        "%",
        "..",
        ".",
    ),
)
EXPRESSIONS = (
    *(
        "",
        "  ",
        "\n",
        "true",
        "1",
        "object.x",
        "1 +",
        "x",
        "variables.x == 1",
        "params.x == 1",
        "dyn(1)",
        "null",
        "'a'",
    ),
    *("authorizer.path('a').check('get').allowed()", " true ", "true // c", "request.name == 'a'", "oldObject == null"),
    *("namespaceObject.metadata.name == ''", "[1].includes(1)", "object.`a-b` == 1", "'a'.matches('(')", "has(object)"),
    *("quantity('1') == quantity('1')", "int('a') == 1", "cel.bind(x, 1, x) == 1", "object.x.y.z", "true && 1"),
    *("\ttrue\n", "[1, 'a'] == []", "duration('x') == duration('1s')", GONE),
)


def of(place: Path_, *values: Any) -> Iterator[Mutant]:
    for value in values:
        yield place, value


def matches(base: Path_) -> Iterator[Mutant]:
    """What can be wrong with `matchConstraints` and `matchResources` alike."""
    rule = (*base, "resourceRules", 0)
    yield from of((*rule, "apiGroups"), [], ["*"], ["*", "a"], [""], ["", "*"], ["a", "a"], ["A_"], GONE)
    yield from of((*rule, "apiVersions"), [], ["*"], ["*", "v1"], [""], ["v1", "v1"], ["V"], GONE)
    yield from of((*rule, "operations"), [], ["*"], ["*", "CREATE"], ["create"], ["CREATE", "CREATE"], ["PATCH"], GONE)
    yield from of((*rule, "operations"), ["CREATE", "*"], ["CONNECT", "DELETE", "UPDATE"], [""])
    yield from of((*rule, "resources"), [], ["*"], ["*/*"], ["*/*", "pods"], ["*", "pods"], ["*", "pods/status"], GONE)
    yield from of((*rule, "resources"), ["pods/*", "pods/status"], ["pods/status", "pods/*"], ["pods/*", "pods"])
    yield from of((*rule, "resources"), ["*", "*/status"], ["*/scale", "pods/scale"], ["pods/scale", "*/scale"])
    yield from of((*rule, "resources"), ["*/scale", "*/scale"], ["pods/*", "pods/*"], ["pods", "pods"], [""], ["pods/"])
    yield from of(
        (*rule, "resources"), ["/status"], ["/"], ["pods/a/b"], ["Pods"], ["*/*", "*"], ["*", "*"], ["pods//x"]
    )
    yield from of((*rule, "resources"), ["pods/*", "deployments/*"], ["*/", "pods"])
    yield from of((*rule, "resourceNames"), [], ["a"], ["a", "a"], [""], ["a/b"], ["."], [".."], ["%"], ["A B"], ["*"])
    yield from of((*rule, "scope"), "", "*", "Cluster", "Namespaced", "cluster")
    exclude = (*base, "excludeResourceRules")
    yield from of(exclude, [], [{}], [RULE], [RULE | {"operations": []}], [RULE | {"resources": ["*/*", "pods"]}])
    yield from of(exclude, [RULE | {"resourceNames": ["a", "a"]}], [RULE | {"scope": "x"}])
    for selector in ("namespaceSelector", "objectSelector"):
        labels = [{}, {"a": "b"}, {"a b": "c"}, {"a": "c d"}, {"": "x"}, {"a": "x" * 64}, {"a": ""}]
        yield from of((*base, selector), *({"matchLabels": each} for each in labels))
        terms: list[dict[str, Any]] = [
            *({"key": "a", "operator": "In", "values": each} for each in (["b"], [], ["b c"], ["b", "b"], [""])),
            *({"key": "a", "operator": each} for each in ("In", "Exists", "", "Gt")),
            *({"key": "a", "operator": each, "values": ["x"]} for each in ("Exists", "DoesNotExist", "NotIn", "Gt")),
            {"operator": "Exists"},
            {"key": "a b", "operator": "Exists"},
        ]
        yield from of((*base, selector), *({"matchExpressions": [each]} for each in terms))
    yield from of((*base, "matchPolicy"), "", "exact", "Exact", "Equivalent")


def policies() -> Iterator[Mutant]:
    yield from of(("metadata", "name"), *(each for each in NAMES if each))
    yield from of(("spec", "failurePolicy"), "", "fail", "Ignore", GONE)
    yield from of(("spec", "paramKind"), {}, {"apiVersion": "v1"}, {"kind": "ConfigMap"})
    versions = ("", "v1", "apps/v1", "a/b/c", "/v1", "v1/", "V1", "apps/V1", "1v", "a_b/v1", "x.io/v1alpha1", "v" * 64)
    yield from of(("spec", "paramKind", "apiVersion"), *versions)
    yield from of(("spec", "paramKind", "kind"), "", "configmap", "Config_Map", "1x", "A" * 63, "A" * 64, "x-y")
    yield from of(("spec", "matchConstraints"), GONE, {}, {"resourceRules": []})
    yield from matches(("spec", "matchConstraints"))
    many = [{"name": f"a{each}", "expression": "true"} for each in range(65)]
    yield from of(("spec", "matchConditions"), [], GONE, many[:64], many, [many[0], many[0]])
    yield from of(("spec", "matchConditions", 0, "name"), *NAMES, GONE)
    for place in (
        ("matchConditions", 0, "expression"),
        ("validations", 0, "expression"),
        ("variables", 0, "expression"),
    ):
        yield from of(("spec", *place), *EXPRESSIONS)
    yield from of(("spec", "validations", 0, "messageExpression"), *EXPRESSIONS)
    yield from of(("spec", "auditAnnotations", 0, "valueExpression"), *EXPRESSIONS)
    yield from of(
        ("spec", "auditAnnotations", 0, "valueExpression"), *("'" + "a" * each + "'" for each in (5_118, 5_119))
    )
    yield from of(("spec", "auditAnnotations", 0, "valueExpression"), " '" + "a" * 5_118 + "' ")
    names = (
        "",
        "x",
        "1x",
        "x-y",
        "in",
        "true",
        "namespace",
        "_x",
        "\u00e9",
        "x.y",
        "self",
        "object",
        "int",
        "null",
        "as",
    )
    yield from of(("spec", "variables", 0, "name"), *names, "x" * 300, GONE)
    x, y = {"name": "x", "expression": "1"}, {"name": "y", "expression": "variables.x"}
    yield from of(("spec", "variables"), [], [x, x], [x, y], [y, x], [x | {"expression": "variables.x"}], GONE)
    yield from of(("spec", "validations"), [], [{"expression": "true"}] * 3, GONE)
    yield from of(("spec", "validations", 0, "message"), "", "  ", "a\nb", "a\rb", " a\n", "\n", "x" * 6_000, GONE)
    reasons = ("", "Invalid", "Forbidden", "Unauthorized", "RequestEntityTooLarge", "x", "invalid", GONE)
    yield from of(("spec", "validations", 0, "reason"), *reasons)
    annotations = [{"key": f"k{each}", "valueExpression": "'a'"} for each in range(21)]
    yield from of(("spec", "auditAnnotations"), [], annotations[:20], annotations, [annotations[0]] * 2, GONE)
    yield from of(("spec", "auditAnnotations", 0, "key"), *NAMES, GONE)
    yield from of(("spec", "unknown"), 1)
    yield from of(("spec", "validations", 0, "Expression"), "true")
    yield from of(("spec",), GONE, {}, {"validations": [], "auditAnnotations": []})


def bindings() -> Iterator[Mutant]:
    yield from of(("metadata", "name"), *(each for each in NAMES if each))
    yield from of(("spec", "policyName"), *NAMES, GONE)
    yield from of(("spec", "matchResources"), {}, GONE)
    yield from of(("spec", "matchResources", "resourceRules"), [], GONE)
    yield from matches(("spec", "matchResources"))
    actions: tuple[list[str], ...] = (
        [],
        ["Deny"],
        ["Warn"],
        ["Audit"],
        ["Deny", "Warn"],
        ["Warn", "Deny"],
        ["Deny", "Audit"],
        ["Deny", "Deny"],
    )
    yield from of(
        ("spec", "validationActions"), *actions, ["deny"], ["x", "Deny"], ["Deny", "Warn", "Audit"], [""], GONE
    )
    named: dict[str, Any] = {"name": "a", "parameterNotFoundAction": "Deny"}
    chosen: dict[str, Any] = {"selector": {}, "parameterNotFoundAction": "Deny"}
    yield from of(
        ("spec", "paramRef"), {}, {"name": "a"}, {"parameterNotFoundAction": "Allow"}, named | chosen, chosen, GONE
    )
    yield from of(("spec", "paramRef"), *(named | {"parameterNotFoundAction": each} for each in ("", "allow", "Allow")))
    yield from of(("spec", "paramRef"), *(named | {"name": each} for each in ("", "A_b", "a/b", "..", "a" * 300)))
    yield from of(("spec", "paramRef"), *(named | {"namespace": each} for each in ("", "A_", "a/b", "a" * 300)))
    yield from of(("spec", "paramRef"), chosen | {"selector": {"matchLabels": {"a b": "c"}}})
    yield from of(("spec",), GONE, {})


def changed(manifest: dict[str, Any], place: Path_, value: Any) -> dict[str, Any]:
    made: Any = copy.deepcopy(manifest)
    holder = made
    for step in place[:-1]:
        holder = holder[step]
    if value is GONE:
        holder.pop(place[-1])
    else:
        holder[place[-1]] = value
    return made  # type: ignore[no-any-return]


def ours(manifest: dict[str, Any]) -> list[Problem]:
    """All problems that a new policy has, as `policies validate` tells them."""
    document = Document(file="manifest.yaml", value=manifest)
    if manifest["kind"] == BINDING["kind"]:
        return list(read_binding(document)[1])
    spec, problems = read_policy(document)
    found = list(problems)
    if spec is not None:
        told = {each.path for each in problems}
        found += [
            each
            for each in build(spec, (), version=Version(parse_version(RELEASE), new=True))[1]
            if each.path not in told
        ]
    return found


def refusal(client: httpx.Client, manifest: dict[str, Any]) -> list[str]:
    """The fields that the server complains of; none when it accepts the manifest."""
    plural = (
        "validatingadmissionpolicies" if manifest["kind"] == POLICY["kind"] else "validatingadmissionpolicybindings"
    )
    version = manifest["apiVersion"].rpartition("/")[2]
    url = f"/apis/admissionregistration.k8s.io/{version}/{plural}"
    answer = client.post(url, json=manifest, params={"dryRun": "All", "fieldValidation": "Strict"})
    if answer.status_code == 201:
        return []
    said = answer.json()
    causes = [each.get("field", "") for each in said.get("details", {}).get("causes", ())]
    return causes or [said["message"]]


def _same(ours: str, server: str) -> bool:
    """Whether both mean one field: the one may name a list or map, and the other an item of it."""
    return ours.startswith(server) or server.startswith(ours) or ours in server


DIFFERENT = {
    # The last one counts. A plain create takes them, server-side apply does not, and nobody means it. One that uses
    # itself ends the server, so that no test asks it.
    "spec.variables = [{'name': 'x', 'expression': '1'}, {'name': 'x'": "two variables with one name",
}


@pytest.mark.parametrize("kind", ["policies", "bindings"])
def test_what_the_server_refuses_is_refused_and_nothing_else(kind: str, cluster: Cluster) -> None:
    manifest, mutants = (POLICY, policies()) if kind == "policies" else (BINDING, bindings())
    unequal: list[str] = []
    tried = 0
    with cluster.client() as client:
        assert refusal(client, manifest) == []
        assert ours(manifest) == []
        for place, value in mutants:
            made = changed(manifest, place, value)
            server, problems = refusal(client, made), ours(made)
            tried += 1
            name = f"{'.'.join(map(str, place))} = {'(gone)' if value is GONE else repr(value)[:120]}"
            known = any(name.startswith(each) for each in DIFFERENT)
            if not known and bool(server) != bool(problems):
                unequal.append(f"{name}: server {server}, ours {[f'{each.path}: {each.message}' for each in problems]}")
            fields = [each.path for each in problems]
            if server and problems and not any(_same(path, field) for path in fields for field in server):
                unequal.append(f"{name}: server {server}, ours {fields}")
    assert not unequal, f"{len(unequal)} of {tried}:\n" + "\n".join(unequal)
    assert tried > 150
