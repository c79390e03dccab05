"""What an expression may use on which Kubernetes, new or stored. `tests/e2e` asks the API server's own environments."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from webhook.cel.library import EVERY, FUNCTIONS
from webhook.cel.releases import KNOWN, parse_version
from webhook.cel.unit import CompileErrors, EvalError, Expression, Inputs, compile_unit
from webhook.cel.versions import STORED, Version
from webhook.settings import Settings

LISTS = ("[1].distinct()", "[[1]].flatten()", "[1].sort()", "[1].sortBy(x, x)", "lists.range(3)", "[1].slice(0, 1)")


def wrong(text: str, version: Version) -> list[str]:
    try:
        compile_unit([Expression(path="x", text=text)], version=version)
    except CompileErrors as failed:
        return [f"{each.message}|{each.hint}" for each in failed.errors]
    return []


@pytest.mark.parametrize("minor", range(34, 38))
def test_what_a_server_has_stored_may_use_all_that_it_knows(minor: int) -> None:
    for text in LISTS:
        assert wrong(text, Version(minor)) == []
    assert bool(wrong("[1].includes(1)", Version(minor))) == (minor < 37)


@pytest.mark.parametrize("minor", range(34, 38))
def test_what_is_new_may_use_what_the_server_before_had(minor: int) -> None:
    for text in LISTS:
        assert bool(wrong(text, Version(minor, new=True))) == (minor == 34)
    assert wrong("[1].includes(1)", Version(minor, new=True)) == [
        "undeclared reference to 'includes' (in container '')"
        "|includes came with Kubernetes 1.37; new policies may use it from 1.38 on"
    ]


def test_names_in_back_quotes_and_durations_of_ints() -> None:
    assert wrong("object.`a-b`", Version(37)) == []
    assert wrong("object.`a-b`", Version(36)) == ["unsupported syntax: '`'|"]
    assert wrong("duration(object)", Version(37)) == wrong("duration(object)", Version(36)) == []
    assert wrong("duration(size('a'))", Version(37)) == [
        "found no matching overload for 'duration' applied to '(int)'|"
    ]
    unit = compile_unit([Expression(path="x", text="duration(size('a'))")], version=Version(36))
    text = "type conversion error from 'int' to 'google.protobuf.Duration'"
    assert unit.start(Inputs()).value(0) == EvalError(text)


def test_what_never_existed_has_no_hint() -> None:
    assert wrong("nope(1)", STORED) == ["undeclared reference to 'nope' (in container '')|"]


def test_the_default_is_the_newest() -> None:
    assert Version() == STORED
    assert Version().functions == FUNCTIONS
    assert EVERY.keys() == FUNCTIONS.keys()
    assert get_args(get_type_hints(Settings)["kubernetes_version"]) == KNOWN
    assert Settings().kubernetes_version == KNOWN[-1]
    assert [parse_version(each) for each in KNOWN] == [34, 35, 36, 37]
    with pytest.raises(ValueError, match=r"unknown Kubernetes version '1\.20', expected one of 1\.34, "):
        parse_version("1.20")
