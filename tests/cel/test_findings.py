"""What comparing with the API server's own code has taught (`tests/e2e/test_cel_oracle.py`), where no vector says it.
The expectations are the server's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from webhook.cel.unit import EvalError

VALUES: dict[str, Any] = {
    "url('https://e.com/?q=1#f').getQuery() == {'q': ['1']}": True,
    "url('//h/p').getHost()": "h",
    "url('mailto:a@b').getEscapedPath()": "",
    "url('ftp://a:b:80/').getHostname()": "a:b",
    "isURL('//[')": True,
    "isURL('http://[1.2.3.4]/')": False,
    "isURL('http://a:b:80/')": False,
    "isURL('http://[fe80::1%25en0]:80/')": True,
    "quantity('.') == quantity('0') && quantity('-') == quantity('m')": True,
    "{'a': 1, ?'a': optional.none()}.size()": 0,
    "{[1]: 2}.size() == 1 && !([1] in {[1]: 2})": True,
    "[1].includes('a') || 1.includes(1)": True,
    "dyn(optional.of('abc')).matches('b') && dyn(int).matches('i')": True,
    "timestamp('2024-01-01T05:00:00Z').getHours('Local')": 5,
}
ERRORS = {
    "({1: optional.of(1)}).k.orValue(1)": "no such key: k",
    "[1][dyn(1e308)]": "unsupported index value 1e+308 in list",
    "[1][dyn(18446744073709551615u)]": "unsupported index value 18446744073709551615 in list",
    "matches(dyn(1), string(object))": "no such overload: matches",
    "url('/a#%zz')": 'URL parse error during conversion from string: parse "/a#%zz": invalid URL escape "%zz"',
}
REFUSED = {
    "[int].filter(x, true)": ["program instantiation failed: reference to undefined type: x"],
    "optional.of(int).optMap(x, 1)": ["program instantiation failed: reference to undefined type: x"],
    "optional.of(duration('x')).optMap(v, 1)": ["1:22: invalid duration argument"] * 2,
    "quantity('1').k": ["1:14: unexpected failed resolution of 'kubernetes.Quantity'"],
    "has(has(1))": ["1:9: invalid argument to has() macro"] * 2,
    "{b'a': 1}": ["program instantiation failed: hash of unhashable type types.Bytes"],
    "[1, {}, ?dyn(1)]": ["1:5: expected type 'int' but found 'map(dyn, dyn)'"],
}


@pytest.mark.parametrize("text", VALUES)
def test_values(text: str, evaluate: Callable[..., Any]) -> None:
    assert evaluate(text) == VALUES[text]


@pytest.mark.parametrize("text", ERRORS)
def test_errors(text: str, evaluate: Callable[..., Any]) -> None:
    found = evaluate(text, object="a")
    assert isinstance(found, EvalError)
    assert found.text == ERRORS[text]


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str, evaluate: Callable[..., Any]) -> None:
    assert evaluate(text) == REFUSED[text]
