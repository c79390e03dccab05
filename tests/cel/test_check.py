"""The checker: what the server refuses at creation, with its text and position; what it accepts."""

from __future__ import annotations

from typing import Any

import pytest

from webhook.cel.unit import CompileErrors, Expression, Returns, Variable, compile_unit


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("foo", ["1:1: undeclared reference to 'foo' (in container '')"]),
        (
            "foo.bar(1)",
            [
                "1:1: undeclared reference to 'foo' (in container '')",
                "1:8: undeclared reference to 'bar' (in container '')",
            ],
        ),
        ("params.x", ["1:1: undeclared reference to 'params' (in container '')"]),
        ("1 + 'a'", ["1:3: found no matching overload for '_+_' applied to '(int, string)'"]),
        ("1 == 'a'", ["1:3: found no matching overload for '_==_' applied to '(int, string)'"]),
        ("1 == 1.0", ["1:3: found no matching overload for '_==_' applied to '(int, double)'"]),
        ("'a'.size(1)", ["1:9: found no matching overload for 'size' applied to 'string.(int)'"]),
        ("request.nope", ["1:8: undefined field 'nope'"]),
        ("'a'.b", ["1:4: type 'string' does not support field selection"]),
        (
            "(1).all(x, true)",
            ["1:2: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)"],
        ),
        ("[1, 'a']", ["1:5: expected type 'int' but found 'string'"]),
        ("{'a': 1, 'b': 'c'}", ["1:15: expected type 'int' but found 'string'"]),
        ("[object.a, 'x']", ["1:12: expected type 'dyn' but found 'string'"]),
        ("1 || true", ["1:1: expected type 'bool' but found 'int'"]),
        ("[1].all(x, x)", ["1:12: expected type 'bool' but found 'int'"]),
        ("duration('1d')", ["1:10: invalid duration argument"]),
        ("timestamp('x')", ["1:11: invalid timestamp argument"]),
        ("'a'.matches('(')", ["1:13: invalid matches argument"]),
        ("'a'.find('(')", ["program instantiation failed: error parsing regexp: missing closing ): `(`"]),
        ("true || int('x') == 1", ["program instantiation failed: type conversion error from 'string' to 'int'"]),
        ("{1: 2}[dyn(null)]", ["program instantiation failed: invalid qualifier type: types.Null"]),
        ("[?object.x]", ["1:9: an optional element of type 'dyn' cannot be checked by the API server"]),
        ("cel.bind(x, 1, x)", ["1:1: undeclared reference to 'cel' (in container '')"]),
        ("quantity('1').sign()", ["1:19: found no matching overload for 'sign' applied to 'kubernetes.Quantity.()'"]),
        (
            "'%d'.format(['a'])",
            ["1:14: error during formatting: decimal clause can only be used on integers, was given string"],
        ),
        (
            "google.protobuf.Any{value: b'a'}",
            ["1:20: google.protobuf.Any of something is not supported yet"],
        ),
    ],
)
def test_what_is_refused(text: str, errors: list[str], evaluate: Any) -> None:
    found = evaluate(text)
    assert isinstance(found, list), found
    assert found[: len(errors)] == errors


@pytest.mark.parametrize(
    "text",
    [
        "dyn(1) == 'a'",
        "1 < 1.0",
        "[[], [1]]",
        "'%s %d'.format([object.a, 1])",
        "[object.?a]",
        "[?object.?a.b]",
        "object.x.y[0].z",
        "ip.isCanonical('::1') && sets.contains([1], [1])",
        "[1, 2].map(sets, [3].map(x, sets + x))",
        "type(object) == map && type(timestamp('2024-01-01T00:00:00Z')) == google.protobuf.Timestamp",
        "authorizer.group('').resource('pods').check('get').allowed()",
        "authorizer.requestResource.check('get').reason() == ''",
        "request.userInfo.extra['a'][0] == request.kind.kind",
    ],
)
def test_what_is_accepted(text: str) -> None:
    compile_unit([Expression(path="x", text=text)])


@pytest.mark.parametrize(
    ("returns", "text", "error"),
    [
        ("bool", "object.flag", "must evaluate to bool but got dyn"),
        ("bool", "1", "must evaluate to bool but got int"),
        ("string", "timestamp('2024-01-01T00:00:00Z')", "must evaluate to string but got google.protobuf.Timestamp"),
        ("string", "null", "must evaluate to string but got null_type"),
        ("audit", "[1]", "must evaluate to one of [string null_type] but got list(int)"),
        ("audit", "quantity('1')", "must evaluate to one of [string null_type] but got kubernetes.Quantity"),
    ],
)
def test_required_results(returns: Returns, text: str, error: str, evaluate: Any) -> None:
    assert evaluate(text, returns=returns) == [error]


@pytest.mark.parametrize("text", ["null", "'a'"])
def test_an_audit_annotation_may_be_string_or_null(text: str) -> None:
    compile_unit([Expression(path="x", text=text, returns="audit")])


def test_variables_are_typed_and_ordered(evaluate: Any) -> None:
    variables = [{"name": "n", "expression": "size(object.l)"}, {"name": "q", "expression": "quantity('1')"}]
    assert evaluate("variables.n + 'a'", variables=variables) == [
        "1:13: found no matching overload for '_+_' applied to '(int, string)'"
    ]
    assert evaluate("variables.later", variables=variables) == ["1:10: undefined field 'later'"]
    assert evaluate("variables.q.isInteger()", variables=variables, object={}) is True
    forward = [{"name": "a", "expression": "variables.b"}, {"name": "b", "expression": "1"}]
    assert evaluate("1", variables=forward) == ["1:10: undefined field 'b'"]


def test_everything_wrong_with_a_unit_is_said_at_once() -> None:
    with pytest.raises(CompileErrors) as failed:
        compile_unit(
            [Expression(path="spec.validations[0].expression", text="a\n  + 1"), Expression(path="second", text="1 +")],
            variables=[Variable(name="v", path="spec.variables[0].expression", text="nope")],
        )
    assert [(error.path, error.line, error.column, error.source) for error in failed.value.errors] == [
        ("spec.variables[0].expression", 1, 1, "nope"),
        ("spec.validations[0].expression", 1, 1, "a"),
        ("second", 1, 4, "1 +"),
    ]


def test_authorizer_and_variables_can_be_undeclared() -> None:
    with pytest.raises(CompileErrors, match="undeclared reference to 'authorizer'"):
        compile_unit([Expression(path="x", text="authorizer.path('/').check('get').allowed()", authorizer=False)])
    with pytest.raises(CompileErrors, match="undeclared reference to 'variables'"):
        compile_unit([Expression(path="x", text="variables.a", variables=False)])
