"""One policy's verdict: messages, errors, match conditions, annotations, and what expressions see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.errors import NeedsState
from webhook.manifest.names import trim
from webhook.manifest.request import request_variable
from webhook.manifest.texts import _cut
from webhook.policy import PASS, Severity
from webhook.review import NULL, UserInfo
from webhook.state import snapshot

Pod = Callable[..., dict[str, Any]]


def messages(verdict: Any) -> list[str]:
    return [finding.message for finding in verdict.findings]


def test_a_finding_names_policy_binding_and_validation(bench: Any, pod: Pod) -> None:
    annotations = {"wouldblock.dev/severity": "high"}
    policy = bench.policy(["true", {"expression": "false", "message": " no "}], annotations=annotations)
    (finding,) = bench.verdict(policy, pod(), [bench.binding("bound")]).findings
    assert (finding.policy, finding.binding, finding.index) == ("p.example.com", "bound", 1)
    assert (finding.message, finding.severity) == ("no", Severity.HIGH)
    assert (finding.error, finding.warn) == (False, True)


def test_a_policy_that_only_records_does_not_warn(bench: Any, pod: Pod) -> None:
    policy = bench.policy(["false"], annotations={"wouldblock.dev/default": "audit"})
    (finding,) = bench.verdict(policy, pod(), [bench.binding("b")]).findings
    assert not finding.warn


def test_every_binding_counts_whatever_its_actions(bench: Any, pod: Pod) -> None:
    bindings = [bench.binding("b", validationActions=["Audit"]), bench.binding("a", validationActions=["Warn"])]
    verdict = bench.verdict(bench.policy(["false"]), pod(), bindings)
    assert [finding.binding for finding in verdict.findings] == ["a", "b"]


@pytest.mark.parametrize(
    ("validation", "expected"),
    [
        ({"expression": "  false "}, "failed expression: false"),
        ({"expression": "false", "message": "m"}, "m"),
        ({"expression": "false", "message": "m", "messageExpression": "'  e  '"}, "e"),
        ({"expression": "false", "message": "m", "messageExpression": "''"}, "m"),
        ({"expression": "false", "message": "m", "messageExpression": "'a\\nb'"}, "m"),
        ({"expression": "false", "message": "m", "messageExpression": "'a\\n'"}, "a"),
        ({"expression": "false", "messageExpression": "object.nope + ''"}, "failed expression: false"),
        ({"expression": "false", "messageExpression": "'é' + 'x'"}, "éx"),
    ],
)
def test_which_message(bench: Any, pod: Pod, validation: dict[str, str], expected: str) -> None:
    assert messages(bench.verdict(bench.policy([validation]), pod())) == [expected]


@pytest.mark.parametrize(("letters", "fits"), [(2_560, True), (2_561, False)])
def test_the_message_limit_is_in_bytes(bench: Any, pod: Pod, letters: int, fits: bool) -> None:
    policy = bench.policy([{"expression": "false", "message": "m", "messageExpression": f"'{'é' * letters}'"}])
    assert messages(bench.verdict(policy, pod())) == ["é" * letters if fits else "m"]


def test_an_error_is_a_finding_only_under_fail(bench: Any, pod: Pod) -> None:
    policy = bench.policy(["object.spec.nope == 1"])
    (finding,) = bench.verdict(policy, pod()).findings
    assert finding.message == "expression 'object.spec.nope == 1' resulted in error: no such key: nope"
    assert finding.error
    policy["spec"]["failurePolicy"] = "Ignore"
    assert bench.verdict(policy, pod()) == PASS


def test_ignore_spares_no_false_validation(bench: Any, pod: Pod) -> None:
    assert messages(bench.verdict(bench.policy(["false"], failurePolicy="Ignore"), pod())) == [
        "failed expression: false"
    ]


class TestMatchConditions:
    def verdict(self, bench: Any, pod: Pod, *conditions: str, failure: str = "Fail") -> Any:
        named = [{"name": f"c{index}", "expression": each} for index, each in enumerate(conditions)]
        return bench.verdict(bench.policy(["false"], matchConditions=named, failurePolicy=failure), pod())

    def test_all_must_hold(self, bench: Any, pod: Pod) -> None:
        assert messages(self.verdict(bench, pod, "true", "true")) == ["failed expression: false"]
        assert self.verdict(bench, pod, "true", "false") is None

    @pytest.mark.parametrize("failure", ["Fail", "Ignore"])
    def test_false_outweighs_errors(self, bench: Any, pod: Pod, failure: str) -> None:
        assert self.verdict(bench, pod, "object.nope == 1", "false", failure=failure) is None

    def test_an_error_is_the_only_finding(self, bench: Any, pod: Pod) -> None:
        (finding,) = self.verdict(bench, pod, "true", "object.nope == 1").findings
        assert finding.message == "expression 'object.nope == 1' resulted in error: no such key: nope"
        assert (finding.error, finding.index) == (True, 0)

    def test_several_errors_are_listed_once_each(self, bench: Any, pod: Pod) -> None:
        (text,) = messages(self.verdict(bench, pod, "object.a == 1", "object.b == 1", "object.a == 1"))
        assert text.startswith("[expression 'object.a == 1'")
        assert text.endswith("no such key: b]")
        assert text.count("resulted in error") == 2

    def test_an_error_under_ignore_is_no_match(self, bench: Any, pod: Pod) -> None:
        assert self.verdict(bench, pod, "object.nope == 1", failure="Ignore") is None

    def test_the_namespace_is_null(self, bench: Any, pod: Pod) -> None:
        """For match conditions always, whatever namespace there is; so no state is needed either."""
        assert messages(self.verdict(bench, pod, "namespaceObject == null")) == ["failed expression: false"]


class TestAuditAnnotations:
    def policy(self, bench: Any, *values: str, **spec: Any) -> Any:
        items = [{"key": f"k{index}", "valueExpression": value} for index, value in enumerate(values)]
        return bench.policy(["true"], auditAnnotations=items, **spec)

    def test_published_although_everything_passes(self, bench: Any, pod: Pod) -> None:
        verdict = bench.verdict(self.policy(bench, "' a '", "null", "''", "object.kind + '!'"), pod())
        assert verdict.annotations == (("k0", "a"), ("k3", "Pod!"))
        assert verdict.findings == ()

    def test_an_error_denies_under_fail(self, bench: Any, pod: Pod) -> None:
        verdict = bench.verdict(self.policy(bench, "object.nope + ''"), pod())
        assert messages(verdict) == ["expression 'object.nope + ''' resulted in error: no such key: nope"]
        assert verdict.findings[0].error

    def test_an_error_is_dropped_under_ignore(self, bench: Any, pod: Pod) -> None:
        assert bench.verdict(self.policy(bench, "object.nope + ''", failurePolicy="Ignore"), pod()) == PASS

    def test_values_of_several_bindings_are_joined_once(self, bench: Any, pod: Pod) -> None:
        params = [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}, "data": {"v": v}}
            for name, v in (("a", "one"), ("b", "two"), ("c", "one"))
        ]
        policy = self.policy(bench, "params.data.v + ''", paramKind={"apiVersion": "v1", "kind": "ConfigMap"})
        bindings = [
            bench.binding(each, paramRef={"name": each, "parameterNotFoundAction": "Deny"}) for each in ("a", "b", "c")
        ]
        assert bench.verdict(policy, pod(), bindings, folder=params).annotations == (("k0", "one, two"),)

    def test_cut_at_bytes_as_go_cuts(self) -> None:
        assert _cut("a" * 10_240) == "a" * 10_240
        assert _cut("a" * 10_241) == "a" * 10_240
        # The character that does not fit leaves two of its three bytes: two replacement characters.
        assert _cut("a" * 10_238 + "€") == "a" * 10_238 + "\ufffd\ufffd"


@given(st.text(st.characters(codec="utf-8"), max_size=6_000))
def test_a_cut_text_is_a_prefix_and_fits(text: str) -> None:
    cut = _cut(text * 4)
    kept = cut.rstrip("\ufffd")
    assert (text * 4).startswith(kept)
    assert len(kept.encode()) <= 10_240


@pytest.mark.parametrize(("text", "expected"), [(" a ", "a"), ("\x1ca\x1c", "\x1ca\x1c"), ("\u2003a\x85", "a")])
def test_trimming_is_go_s(text: str, expected: str) -> None:
    assert trim(text) == expected


class TestNamespaceObject:
    POLICY = ("namespaceObject == null || namespaceObject.metadata.labels.env == 'prod'",)

    def test_from_the_state(self, bench: Any, pod: Pod) -> None:
        for env, found in (("prod", []), ("test", [f"failed expression: {self.POLICY[0]}"])):
            meta = {"name": "shop", "labels": {"env": env}}
            state = snapshot([{"apiVersion": "v1", "kind": "Namespace", "metadata": meta}], taken_at=0.0)
            assert messages(bench.verdict(bench.policy(self.POLICY), pod(), state=state)) == found

    def test_unknown_is_no_verdict(self, bench: Any, pod: Pod) -> None:
        with pytest.raises(NeedsState):
            bench.verdict(bench.policy(self.POLICY), pod())

    def test_unknown_does_not_matter_to_who_does_not_look(self, bench: Any, pod: Pod) -> None:
        policy = bench.policy(["object.kind == 'Pod' || namespaceObject.metadata.name == 'shop'"])
        assert bench.verdict(policy, pod()) == PASS

    def test_null_for_cluster_scoped_objects_and_namespaces(self, bench: Any) -> None:
        for kind in ("Node", "Namespace"):
            obj = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "shop"}}
            assert bench.verdict(bench.policy(["namespaceObject == null"]), obj) == PASS


class TestRequestVariable:
    def test_empty_optional_fields_are_absent(self, bench: Any) -> None:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
        variable = request_variable(bench.request(node, user_info=UserInfo("alice")))
        assert variable["userInfo"] == {"username": "alice"}
        assert variable["dryRun"] is False
        assert variable["kind"] == {"group": "", "version": "v1", "kind": "Node"}
        assert not {"namespace", "subResource", "requestSubResource"} & variable.keys()

    def test_what_is_there(self, bench: Any, pod: Pod) -> None:
        options = msgspec.Raw(b'{"kind":"CreateOptions","fieldManager":"kubectl"}')
        user = UserInfo("alice", "u1", ("dev",), {"scopes": ("a", "b")})
        request = bench.request(pod(), user_info=user, options=options, sub_resource="status", dry_run=True)
        variable = request_variable(request)
        assert variable["userInfo"]["extra"] == {"scopes": ["a", "b"]}
        assert variable["options"]["fieldManager"] == "kubectl"
        assert (variable["subResource"], variable["namespace"], variable["name"]) == ("status", "shop", "web")
        assert variable["dryRun"] is True
        assert request_variable(bench.request(pod(), options=NULL))["options"] is None

    def test_what_is_not_declared_is_there_and_empty(self, bench: Any, pod: Pod) -> None:
        policy = bench.policy(["dyn(request).uid == '' && dyn(request).object == null && has(dyn(request).oldObject)"])
        assert bench.verdict(policy, pod()) == PASS

    def test_expressions_see_it(self, bench: Any, pod: Pod) -> None:
        policy = bench.policy(["request.operation == 'CREATE' && request.userInfo.username == 'alice'"])
        assert bench.verdict(policy, pod()) == PASS


def test_deletion_has_no_object(bench: Any, pod: Pod) -> None:
    policy = bench.policy(["object == null && oldObject.metadata.name == 'web'"])
    assert bench.verdict(policy, pod(), operation="DELETE") == PASS


def test_variables_are_lazy_and_chained(bench: Any, pod: Pod) -> None:
    variables = [
        {"name": "a", "expression": "object.nope"},
        {"name": "b", "expression": "object.kind"},
        {"name": "c", "expression": "variables.b + '!'"},
    ]
    policy = bench.policy(["variables.c == 'Pod!'", "variables.a == 1"], variables=variables)
    why = 'composited variable "a" fails to evaluate: no such key: nope'
    assert messages(bench.verdict(policy, pod())) == [f"expression 'variables.a == 1' resulted in error: {why}"]


def test_the_digest_is_of_all_that_decides(bench: Any) -> None:
    def digest(expression: str = "true", note: str = "", **binding: Any) -> str:
        policy = bench.policy([expression], annotations={"example.com/note": note})
        found: str = bench.compiled(policy, [bench.binding(**binding)]).digest
        return found

    base = digest()
    assert digest() == base
    assert digest("1 == 1") != base
    assert digest(validationActions=["Audit"]) != base
    assert digest(note="x") == base


def test_the_policy_shows_its_python(bench: Any) -> None:
    assert "def " in bench.compiled(bench.policy(["object.kind == 'Pod'"])).python
