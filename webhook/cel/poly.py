"""Polynomials with coefficients that are not negative: upper bounds that grow with the size of what is looked at.

A symbol is a number: `INPUT` is the size of the inputs, every other one the size of a loop's element, or a count; none
is between 0 and 1. Exponents may be halves. Knows no CEL.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeAlias

Monomial: TypeAlias = tuple[int, ...]
"""Its symbols in order, each twice as often as its exponent says: a single one is a square root."""
Poly: TypeAlias = Mapping[Monomial, float]

INPUT: Final = 0
ZERO: Final[Poly] = {}

_TERMS: Final = 64
_DEGREE: Final = 12


class Unbounded(Exception):
    """There is no useful bound."""


@lru_cache(maxsize=4096)
def number(value: float) -> Poly:
    return {(): float(value)}


@lru_cache(maxsize=4096)
def symbol(name: int) -> Poly:
    return {(name, name): 1.0}


def plus(first: Poly, *others: Poly) -> Poly:
    found = dict(first)
    for poly in others:
        for monomial, factor in poly.items():
            if monomial in found:
                found[monomial] += factor
            else:
                found[monomial] = factor
    if len(found) > _TERMS:
        raise Unbounded
    return found


def larger(one: Poly, other: Poly) -> Poly:
    """At least as large as either."""
    if not one or not other or one is other:
        return one or other
    found = dict(one)
    for monomial, factor in other.items():
        if factor > found.get(monomial, 0.0):
            found[monomial] = factor
    if len(found) > _TERMS:
        raise Unbounded
    return found


def smaller(one: Poly, other: Poly) -> Poly:
    """Either of two bounds of which the lesser holds: the one that promises to come out less. Of two that are alike
    the one of the inner loop, whose elements add up to no more than one element of the outer one."""
    return min(one, other, key=_size)


def _size(poly: Poly) -> tuple[float, ...]:
    degree = max(map(len, poly), default=0)
    innermost = max((monomial[-1] for monomial in poly if monomial), default=0)
    return (degree, -innermost, sum(poly.values()))


def scaled(poly: Poly, factor: float) -> Poly:
    return {monomial: each * factor for monomial, each in poly.items()}


def times(one: Poly, other: Poly) -> Poly:
    found: dict[Monomial, float] = {}
    for left, factor in one.items():
        for right, each in other.items():
            monomial = tuple(sorted(left + right)) if left and right else left or right
            found[monomial] = found.get(monomial, 0.0) + factor * each
    if len(found) > _TERMS or any(len(monomial) > _DEGREE for monomial in found):
        raise Unbounded
    return found


def root(poly: Poly) -> Poly:
    """At least the square root: that of a sum is no more than the sum of the roots."""
    found: dict[Monomial, float] = {}
    for monomial, factor in poly.items():
        half = tuple(name for name in sorted(set(monomial)) for _ in range((monomial.count(name) + 1) // 2))
        found[half] = found.get(half, 0.0) + math.sqrt(factor)
    return found


def split(poly: Poly, name: int) -> tuple[Poly, Poly]:
    """(the terms without a symbol, those with it)."""
    without = {monomial: factor for monomial, factor in poly.items() if name not in monomial}
    return without, {monomial: factor for monomial, factor in poly.items() if name in monomial}


def put(poly: Poly, name: int, value: Poly) -> Poly:
    """With a value in the place of a symbol."""
    without, holding = split(poly, name)
    if not holding:
        return poly
    parts = [without]
    for monomial, factor in holding.items():
        part: Poly = {tuple(each for each in monomial if each != name): factor}
        whole, half = divmod(monomial.count(name), 2)
        for _ in range(whole):
            part = times(part, value)
        parts.append(times(part, root(value)) if half else part)
    return plus(*parts)


def at(poly: Poly, size: int) -> float:
    """The value for inputs of a size; no other symbol may be left."""
    return sum(factor * math.pow(size, len(monomial) / 2) for monomial, factor in poly.items())
