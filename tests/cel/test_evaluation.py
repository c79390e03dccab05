"""Run-time semantics: absorption, selection, numbers, Python's traps. Texts are the API server's."""

from __future__ import annotations

from typing import Any

import pytest

from webhook.cel.unit import EvalError
from webhook.cel.values import Uint
from webhook.errors import DeadlineExceeded

OBJECT: dict[str, Any] = {
    "spec": {
        "n": 3,
        "one": 1,
        "yes": True,
        "s": "text",
        "nul": None,
        "l": [1, 2, 3],
        "empty": [],
        "mixed": [1, "a", True, None, 2.5],
        "containers": [{"name": "a", "limits": {"memory": "1Gi"}}, {"name": "b"}],
    }
}


def error(text: str) -> EvalError:
    return EvalError(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # absorption: a decided side wins over an error on either side
        ("object.x || true", True),
        ("true || object.x", True),
        ("object.x && false", False),
        ("object.x || false", error("no such key: x")),
        ("object.x && true", error("no such key: x")),
        ("object.x || object.y", error("no such key: x")),
        ("object.x || object.y || object.z || true", True),
        ("(object.x || false) && (object.y || true) && false", False),
        ("object.spec.n || true", True),
        ("object.spec.n || false", error("no such overload")),
        ("(object.x == 1 && true) || !(object.y || true) || true", True),
        ("(object.x ? true : false) || true", True),
        ("object.spec.n ? 1 : 2", error("no such overload")),
        ("!object.spec.n", error("no such overload")),
        ("[1, 2].exists(x, x / 0 == 1) || true", True),
        # all and exists absorb, the others do not
        ("object.spec.containers.all(c, c.limits.memory == '')", False),
        ("object.spec.containers.all(c, c.limits.memory != '')", error("no such key: limits")),
        ("object.spec.containers.exists(c, c.limits.memory != '')", True),
        ("object.spec.containers.exists(c, c.nope)", error("no such key: nope")),
        ("object.spec.containers.exists(c, c.limits.memory == '' || c.name == 'b')", True),
        ("object.spec.containers.exists_one(c, c.limits.memory != '')", error("no such key: limits")),
        ("[1, 2, 3].exists_one(x, x / (x - 1) > 5)", error("division by zero")),
        ("object.spec.containers.filter(c, c.limits.memory != '').size()", error("no such key: limits")),
        ("object.spec.containers.map(c, has(c.limits), c.name)", ["a"]),
        ("[1, 0].map(x, 1 / x)", error("division by zero")),
        ("[1, 2].all(x, [3, 4].all(y, x < y && has(object.spec)))", True),
        ("object.spec.empty.all(x, x.y)", True),
        ("object.spec.l.all(x, dyn(x))", error("no such overload")),
        # the last error of a predicate wins, an error of a result is kept
        ("[0, 1, 2].filter(x, x == 0 ? 1 / x > 0 : x == 1 ? object.nope : true)", error("no such key: nope")),
        ("[1, 2].map(x, true, x == 1 ? 1 / 0 : object.nope)", error("division by zero")),
        # ranges
        ("object.spec.n.all(x, true)", error("got 'types.Int', expected iterable type")),
        ("object.spec.nul.map(x, x)", error("got 'types.Null', expected iterable type")),
        ("object.spec.s.all(k, v, true)", error("unsupported comprehension range type: types.String")),
        ("{'a': 1}.map(k, k)", ["a"]),
        ("{true: 1}.map(k, k)", [True]),
        ("[5, 6].transformMap(i, v, v * 2)", {0: 10, 1: 12}),
        ("[5, 6].transformMapEntry(i, v, {v: i})", {5: 0, 6: 1}),
        ("{'a': 1}.transformList(k, v, k + string(v))", ["a1"]),
        # selection and presence
        ("object.spec.s.x", error("no such key: x")),
        ("object.spec.nul.x.y", error("no such key: x")),
        ("object.spec.l.x", error("unsupported index type 'string' in list")),
        ("has(object.spec.nul)", True),
        ("has(object.spec.nul.x)", False),
        ("has(object.spec.nope.x)", error("no such key: nope")),
        ("has(object.spec.l.x)", error("unsupported index type 'string' in list")),
        ("object.spec.l[3]", error("index out of bounds: 3")),
        ("object.spec.l[-1]", error("index out of bounds: -1")),
        ("object.spec.l[1.0]", 2),
        ("object.spec.l[1.5]", error("unsupported index value 1.5 in list")),
        ("object.spec.l[object.spec.yes]", error("unsupported index type 'bool' in list")),
        ("object.spec.s[0]", error("no such key: 0")),
        ("object.spec['n']", 3),
        ("object[object.spec.s]", error("no such key: text")),
        ("object.spec.nul[object.spec.s]", error("no such key: text")),
        ("[1, 2][object.spec.one]", 2),
        # optionals
        ("object.spec.?nope.orValue(5)", 5),
        ("object.?spec.?containers[0].?limits.memory.orValue('')", "1Gi"),
        ("object.spec.?s.x.orValue('none')", "none"),
        ("object.?spec.l.x.orValue(1)", error("unsupported index type 'string' in list")),
        ("object.spec.?n.orValue(1 / 0)", 3),
        ("object.spec.?nope.orValue(1 / 0)", error("division by zero")),
        ("object.spec.?nope[object.zz.all(x, x)].orValue(7)", 7),
        ("object.spec.?nope[1 / 0].orValue(7)", 7),
        ("object.spec.?n.optMap(n, n + 1).value()", 4),
        ("object.spec.?nope.optMap(n, n + 1).hasValue()", False),
        ("object.spec.?n.optFlatMap(n, optional.none()).hasValue()", False),
        ("object.spec.?nope.value()", error("optional.none() dereference")),
        ("[?object.spec.?nope, ?object.spec.?s]", ["text"]),
        ("{?'a': object.spec.?nope.optMap(x, 1), 'b': 2}", {"b": 2}),
        # numbers
        ("9223372036854775807 + 1", error("integer overflow")),
        ("-9223372036854775808 - 1", error("integer overflow")),
        ("dyn(-9223372036854775808) / -1", error("integer overflow")),
        ("-(object.spec.n - 3 - 9223372036854775807 - 1)", error("integer overflow")),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("7 % -2", 1),
        ("1 / 0", error("division by zero")),
        ("1 % 0", error("modulus by zero")),
        ("0u - 1u", error("unsigned integer overflow")),
        ("uint(3) + 4u", Uint(7)),
        ("1.0 / 0.0 == double('inf')", True),
        ("double('nan') == double('nan')", False),
        ("[double('nan')] == [double('nan')]", False),
        ("double('nan') in [double('nan')]", False),
        ("double('nan') < 1.0", error("NaN values cannot be ordered")),
        ("object.spec.n + 'a'", error("no such overload")),
        ("object.spec.nul + 1", error("no such overload: _+_")),
        ("object.spec.l < object.spec.l", error("no such overload: _<_")),
        ("size(object.spec.n)", error("no such overload: size")),
        # Python's traps: bool is no number, neither as value, key, element nor index
        ("object.spec.yes == 1", False),
        ("object.spec.one == true", False),
        ("object.spec.yes == object.spec.one", False),
        ("object.spec.one in [true]", False),
        ("true in object.spec.mixed", True),
        ("dyn(true) in [1, 2]", False),
        ("{1: 'a'}[dyn(true)]", error("no such key: true")),
        ("{true: 'b'}[true]", "b"),
        ("{1: 'a'}[dyn(1.0)]", "a"),
        ("object.spec.yes + 1", error("no such overload: _+_")),
        ("int(object.spec.yes)", error("no such overload: int(bool)")),
        ("type(object.spec.yes) == bool && type(object.spec.one) == int", True),
        ("object.spec.mixed == [dyn(1), dyn('a'), dyn(true), dyn(null), dyn(2.5)]", True),
        ("object.spec.mixed == [dyn(true), dyn('a'), dyn(true), dyn(null), dyn(2.5)]", False),
        # code points
        ("'😀é'.size()", 2),
        ("'😀é'.substring(1)", "é"),
        ("'😀é'.charAt(0)", "😀"),
        ("'aé'.split('')", ["a", "é"]),
        # library objects
        ("quantity('1Gi') == quantity('1024Mi')", True),
        ("quantity('1') == quantity('1').add(0)", error("no such overload")),
        ("dyn(quantity('1')) == 1", error("no such overload")),
        ("dyn(quantity('1')) != 1", True),
        # dispatch by run-time type
        ("object.spec.n.lowerAscii()", error("no such overload: lowerAscii(int)")),
        ("object.spec.n.startsWith('a')", error("no such overload")),
        ("object.spec.mixed.join(',')", error("no such overload: join(list, string)")),
        ("object.spec.l.sum() + object.spec.l.max()", 9),
        ("object.spec.l.indexOf(2) + object.spec.s.indexOf('x')", 3),
    ],
)
def test_values_and_errors(text: str, value: Any, evaluate: Any) -> None:
    found = evaluate(text, object=OBJECT)
    assert found == value
    assert type(found) is type(value) or isinstance(value, dict)


def test_double_texts(evaluate: Any) -> None:
    texts = {
        "1.0": "1",
        "100000.0": "100000",
        "1000000.0": "1e+06",
        "1234567.5": "1.2345675e+06",
        "0.0001": "0.0001",
        "0.00001": "1e-05",
        "-0.0": "-0",
        "2.5e-9": "2.5e-09",
        "1e300": "1e+300",
    }
    assert {text: evaluate(f"string({text})") for text in texts} == texts


def test_times(evaluate: Any) -> None:
    assert evaluate("string(timestamp('2024-02-29T23:59:59.120Z'))") == "2024-02-29T23:59:59.12Z"
    assert evaluate("string(timestamp('2024-01-01T02:00:00+02:00'))") == "2024-01-01T02:00:00+02:00"
    assert evaluate("timestamp('2024-01-01T02:00:00+02:00') == timestamp('2024-01-01T00:00:00Z')") is True
    assert evaluate("string(duration('1h30m') + duration('1ms'))") == "5400.001s"
    assert evaluate("timestamp('2024-03-10T01:30:00Z').getHours('America/New_York')") == 20
    assert evaluate("timestamp('2024-03-10T01:30:00Z').getMinutes('+01:75')") == 45
    assert evaluate("timestamp('2024-03-10T01:30:00Z').getDayOfWeek()") == 0
    assert evaluate("timestamp('9999-12-31T23:59:59Z') + duration('1s')") == error("timestamp overflow")
    assert evaluate("timestamp('2024-03-10T01:30:00Z').getHours('Nope/Zone')") == error("unknown time zone Nope/Zone")
    assert evaluate("duration('2562047h47m16.854775807s') + duration('1ns')") == error("integer overflow")


def test_find_all_follows_go(evaluate: Any) -> None:
    assert evaluate("'abcab'.findAll('a?')") == ["a", "", "a", ""]
    assert evaluate("'aaaa'.findAll('a', 2)") == ["a", "a"]
    assert evaluate("object.find(object)", object="(") == error(
        "Illegal regex: error parsing regexp: missing closing ): `(`"
    )


@pytest.mark.parametrize(
    "text",
    [
        "dyn([1u, 2u]).distinct().sum()",
        "object.l.sortBy(x, 1).min()",
        "object.l.first().value() + object.l.last().value()",
        "optional.unwrap([] + object.l)",
        "[object.l].flatten().max()",
    ],
)
def test_a_type_that_the_checker_only_supposes_is_not_relied_on(text: str, evaluate: Any) -> None:
    """Parameters that nothing bound are bound by the first overload that wants them; values are what they are."""
    found = evaluate(text, object={"l": [{"a": 1}, {"a": 2}]})
    assert isinstance(found, EvalError)
    assert found.text.startswith("no such overload")


def test_a_long_text_on_a_large_pattern_is_not_begun(evaluate: Any) -> None:
    held = {"text": "a" * 400_000, "pattern": "a?" * 2_000}
    assert evaluate("object.text.matches(object.pattern)", object=held) == error(
        "operation cancelled: actual cost limit exceeded"
    )
    with pytest.raises(DeadlineExceeded):
        evaluate("object.text.matches('(?:a{1,200}b?){3}$')", object=held)


def test_a_fault_in_our_own_code_is_no_cel_error() -> None:
    """A `KeyError` that no generated subscript raised must not become `no such key`."""
    from webhook.cel.program import fault, load

    source = "def f(S, broken=broken):\n    return broken('x')\n"
    with pytest.raises(KeyError) as raised:
        load({"f": source}, {"broken": {}.__getitem__})["f"](None)
    with pytest.raises(KeyError):
        fault(raised.value)
