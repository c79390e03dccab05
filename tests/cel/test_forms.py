"""Every overload in every form of code: with each of its arguments known or not, a call comes to the same whether it
stands alone, decides, or is made for each element, as in the metered form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from webhook.cel.library import FUNCTIONS
from webhook.cel.overload import Overload
from webhook.cel.tagged import encode
from webhook.cel.types import Type
from webhook.cel.unit import CompileErrors, EvalError, Expression, Inputs, compile_unit

_SAMPLES: Final = {
    "int": "2",
    "uint": "2u",
    "double": "1.5",
    "string": "'a'",
    "bytes": "b'a'",
    "bool": "true",
    "null": "null",
    "dyn": "2",
    "parameter": "2",
    "type": "int",
    "timestamp": "timestamp('2024-02-29T12:00:00Z')",
    "duration": "duration('90m')",
    "net.IP": "ip('10.0.0.1')",
    "net.CIDR": "cidr('10.0.0.0/8')",
    "kubernetes.URL": "url('https://a.example/b?c=d')",
    "kubernetes.Quantity": "quantity('1500m')",
    "kubernetes.Semver": "semver('1.2.3')",
    "kubernetes.NamedFormat": "format.dns1123Label()",
}
_JSON: Final = {"'a'": "object.s", "2": "object.i", "1.5": "object.d", "true": "object.b", "null": "object.n"}
_OBJECT: Final = {"s": "a", "i": 2, "d": 1.5, "b": True, "n": None, "l": [2], "t": ["a"], "m": {"a": 2}}
_NOT_WRITTEN: Final = ("_[_]", "_[?_]", "_?_:_", "_&&_", "_||_")


def sample(type: Type) -> str:
    match type.kind:
        case "list":
            return f"[{sample(type.arguments[0])}]"
        case "map":
            return f"{{{sample(type.arguments[0])}: {sample(type.arguments[1])}}}"
        case "optional":
            return f"optional.of({sample(type.arguments[0])})"
    return _SAMPLES[type.name or type.kind] if type.kind == "opaque" else _SAMPLES[type.kind]


def unknown(text: str) -> str:
    """The same value, of which the compiler knows nothing."""
    return _JSON.get(text) or {"[2]": "object.l", "['a']": "object.t", "{'a': 2}": "object.m"}.get(text, f"dyn({text})")


def written(row: Overload, arguments: list[str]) -> str:
    name = row.function
    if name == "@in":
        return f"{arguments[0]} in {arguments[1]}"
    if name.startswith("_") and len(arguments) == 2:
        return f"{arguments[0]} {name.strip('_')} {arguments[1]}"
    if name in ("!_", "-_"):
        return f"{name[0]}({arguments[0]})"
    if row.member:
        return f"{arguments[0]}.{name}({', '.join(arguments[1:])})"
    return f"{name}({', '.join(arguments)})"


def calls() -> Iterator[str]:
    for rows in FUNCTIONS.values():
        for row in rows:
            hidden = row.function in _NOT_WRITTEN or row.function.startswith(("cel.@", "@sort"))
            if hidden or any("authorization" in type.name for type in (*row.arguments, row.result)):
                continue
            known = [sample(type) for type in row.arguments]
            yield written(row, known)
            for at in range(len(known)):
                yield written(row, [*known[:at], unknown(known[at]), *known[at + 1 :]])
            yield written(row, [unknown(each) for each in known])


def value(text: str, *, metered: bool = False) -> Any:
    unit = compile_unit([Expression(path="e", text=text)], metered=metered)
    evaluation = unit.start(Inputs(object=_OBJECT))
    found = evaluation.measure(0)[0] if metered else evaluation.value(0)
    return found.text if isinstance(found, EvalError) else encode(found)


@pytest.mark.parametrize("text", dict.fromkeys(calls()))
def test_all_forms_come_to_the_same(text: str) -> None:
    try:
        expected = value(text, metered=True)
    except CompileErrors:
        pytest.skip("no such overload")
    assert value(text) == expected
    each = value(f"[1].map(each, {text})")
    assert each == (expected if isinstance(expected, str) else {"list": [expected]})
    if not isinstance(expected, dict) or "bool" not in expected:
        return
    assert value(f"true && ({text})") == expected
    assert value(f"!({text}) || object == null") == {"bool": not expected["bool"]}
    assert value(f"[1].all(each, {text})") == expected
