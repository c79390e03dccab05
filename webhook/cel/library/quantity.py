"""Kubernetes quantities: `1.5Gi`, `200m`. The number model is apimachinery's (`api/resource/quantity.go`), which shows
in results: a number that its 64-bit form cannot hold is never an integer, and sums are not comparable with `==`."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

from webhook.cel.equality import Library
from webhook.cel.error import CelError, no_overload
from webhook.cel.overload import row
from webhook.cel.values import INT_MAX, INT_MIN, register

_SHAPE: Final = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_EXPONENT: Final = re.compile(r"[eE]([+-]?[0-9]+)", re.ASCII)
_NANO: Final = -9
_FACTORS: Final = 18
"""Decimal digits that always fit into int64."""


class Quantity(Library):
    """`value * 10**scale`. `big`: held as an arbitrary decimal; `made`: the result of arithmetic."""

    __slots__ = ("big", "form", "made", "scale", "value", "written")
    tag = "quantity"

    def __init__(
        self, value: int, scale: int, form: str, *, big: bool = False, made: bool = False, written: str = ""
    ) -> None:
        self.value = value
        self.scale = scale
        self.form = form
        self.big = big
        self.made = made
        self.written = written

    @property
    def exact(self) -> Fraction:
        return Fraction(self.value) * Fraction(10) ** self.scale

    def same(self, other: Quantity) -> bool:
        if other.made:
            # The server's Equal accepts the pointer that arithmetic returns on the left only.
            raise no_overload()
        return self.exact == other.exact

    def text(self) -> str:
        """As it was written if the server finds that canonical; else no fraction, and all powers in the suffix, which
        the server leaves out where it has none (`1000E` is `1`)."""
        if self.written:
            return self.written
        number = self.exact
        if number == 0:
            return "0"
        if self.form == "binary" and abs(number) >= 1024 and number.denominator == 1:
            mantissa, power = number.numerator, 0
            while mantissa % 1024 == 0:
                mantissa //= 1024
                power += 1
            return f"{mantissa}{['', *_BINARY][power] if power <= len(_BINARY) else ''}"
        mantissa, exponent = self.value, self.scale
        while mantissa % 10 == 0:
            mantissa //= 10
            exponent += 1
        mantissa *= 10 ** (exponent % 3)
        exponent -= exponent % 3
        if self.form == "exponent":
            return f"{mantissa}e{exponent}" if exponent else str(mantissa)
        return f"{mantissa}{next((suffix for suffix, power in _DECIMAL.items() if power == exponent), '')}"


register(Quantity, "kubernetes.Quantity", "cel.Quantity")


def quantity(text: str) -> Quantity:
    # Quantities do not change, and a cluster writes the same few over and over.
    return _remembered(text) if len(text) <= _SHORT else _parse(text)


def _parse(text: str) -> Quantity:
    match = _SHAPE.fullmatch(text)
    if match is None or not text:
        raise CelError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    sign, whole, fraction, suffix = match.groups()
    fraction = fraction or ""
    base, exponent, form = _suffix(suffix)
    written = whole + fraction
    whole = whole.lstrip("0") or "0"  # no digits at all are a zero, too
    digits = int(whole + fraction)
    direction = -1 if sign == "-" else 1
    mantissa, scale, room = 1, exponent, _FACTORS - len(whole) - len(fraction)
    if base == 2:
        scale = 0
        mantissa = 1 << exponent
        room = -1 if fraction else 15 - len(whole) - int(exponent * 3 / 10) - 1
    scale -= len(fraction)
    if room >= 0 and scale >= _NANO and digits * mantissa <= INT_MAX:
        canonical = exponent % 10 == 0 and digits % 8 != 0 if base == 2 else _canonical(whole + fraction, scale)
        return Quantity(direction * digits * mantissa, scale, form, written=text if canonical else "")
    if not written:
        raise CelError(_NO_NUMBER)  # but not to what reads large numbers
    return _large(digits, base, exponent, len(fraction), form, direction)


def _canonical(digits: str, scale: int) -> bool:
    """Whether the server keeps a decimal as it is written."""
    return scale % 3 == 0 and not digits.endswith("000") and not digits.startswith("0")


_NO_NUMBER: Final = "unable to parse numeric part of quantity"
_SHORT: Final = 24
_remembered = lru_cache(maxsize=1_024)(_parse)


def _large(digits: int, base: int, exponent: int, places: int, form: str, direction: int) -> Quantity:
    if abs(exponent) > 10_000:
        raise CelError(_NO_NUMBER)
    number = Fraction(digits) / Fraction(10) ** places * Fraction(base) ** exponent
    nano = number * 10**9
    units = -(-nano.numerator // nano.denominator)  # rounded up: some was asked for
    if form == "binary":
        if units > INT_MAX * 10**9:
            return Quantity(direction * INT_MAX, 0, form, big=True)
        if 0 < units < 10**9:
            form = "decimal"
    return Quantity(direction * units, _NANO, form, big=True)


def _suffix(suffix: str) -> tuple[int, int, str]:
    """(base, exponent, form) of a suffix."""
    if suffix in _DECIMAL:
        return 10, _DECIMAL[suffix], "decimal"
    if suffix in _BINARY:
        return 2, _BINARY[suffix], "binary"
    match = _EXPONENT.fullmatch(suffix)
    if match is None or len(suffix) > 12:
        raise CelError("unable to parse quantity's suffix")
    return 10, int(match.group(1)), "exponent"


def is_quantity(text: str) -> bool:
    try:
        quantity(text)
    except CelError:
        return False
    return True


def _integer(value: Quantity) -> int | None:
    if value.big or value.scale < 0:
        return None
    number = value.value * 10**value.scale
    return number if INT_MIN <= number <= INT_MAX else None


def is_integer(value: Quantity) -> bool:
    return _integer(value) is not None


def as_integer(value: Quantity) -> int:
    number = _integer(value)
    if number is None:
        raise CelError("cannot convert value to integer")
    return number


def as_float(value: Quantity) -> float:
    try:
        return float(value.value) if value.scale == 0 else float(value.value) * _power(value.scale)
    except OverflowError:
        return float("inf") if value.value > 0 else float("-inf")


def _power(scale: int) -> float:
    """Go's `math.Pow10`: not always the nearest to the power, for it is a product of two."""
    coarse, fine = divmod(abs(scale), 32)
    high, low = float(f"1e{32 * coarse}"), float(f"1e{fine}")
    return high * low if scale > 0 else 1 / high / low if scale >= -308 else 0.0


def sign(value: Quantity) -> int:
    return (value.value > 0) - (value.value < 0)


def add(one: Quantity, other: Quantity) -> Quantity:
    return _sum(one, other, 1)


def subtract(one: Quantity, other: Quantity) -> Quantity:
    return _sum(one, other, -1)


def _sum(one: Quantity, other: Quantity, sign: int) -> Quantity:
    form = other.form if one.value == 0 else one.form
    second = sign * other.value
    if not one.big and not other.big:
        small = _small_sum(one.value, one.scale, second if second <= INT_MAX else INT_MIN, other.scale)
        if small is not None:
            return Quantity(*small, form, made=True)
    scale = min(one.scale, other.scale)
    total = one.value * 10 ** (one.scale - scale) + second * 10 ** (other.scale - scale)
    return Quantity(total, scale, form, big=True, made=True)


def _small_sum(one: int, one_scale: int, other: int, other_scale: int) -> tuple[int, int] | None:
    """The sum and its scale by the rules of the 64-bit form (`amount.go`); None where that cannot hold it."""
    if other == 0:
        return one, one_scale
    if one == 0:
        return other, other_scale
    scale = min(one_scale, other_scale)
    first, second = one * 10 ** (one_scale - scale), other * 10 ** (other_scale - scale)
    fits = all(INT_MIN <= number <= INT_MAX for number in (first, second, first + second))
    return (first + second, scale) if fits else None


def add_int(one: Quantity, other: int) -> Quantity:
    return add(one, Quantity(other, 0, "exponent"))


def subtract_int(one: Quantity, other: int) -> Quantity:
    return subtract(one, Quantity(other, 0, "exponent"))


def less(one: Quantity, other: Quantity) -> bool:
    return compare(one, other) < 0


def greater(one: Quantity, other: Quantity) -> bool:
    return compare(one, other) > 0


def compare(one: Quantity, other: Quantity) -> int:
    scale = min(one.scale, other.scale)
    first = one.value * 10 ** (one.scale - scale)
    second = other.value * 10 ** (other.scale - scale)
    return int(first > second) - int(first < second)


_Q: Final = "kubernetes.Quantity"

OVERLOADS: Final = (
    row(f"quantity(string) -> {_Q}", quantity),
    row("isQuantity(string) -> bool", is_quantity, total=True),
    row(f"sign({_Q}) -> int", sign, total=True),
    row(f"{_Q}.isInteger() -> bool", is_integer, total=True),
    row(f"{_Q}.asInteger() -> int", as_integer),
    row(f"{_Q}.asApproximateFloat() -> double", as_float, total=True),
    row(f"{_Q}.add({_Q}) -> {_Q}", add, total=True),
    row(f"{_Q}.add(int) -> {_Q}", add_int, total=True),
    row(f"{_Q}.sub({_Q}) -> {_Q}", subtract, total=True),
    row(f"{_Q}.sub(int) -> {_Q}", subtract_int, total=True),
    row(f"{_Q}.isLessThan({_Q}) -> bool", less, total=True),
    row(f"{_Q}.isGreaterThan({_Q}) -> bool", greater, total=True),
    row(f"{_Q}.compareTo({_Q}) -> int", compare, total=True),
)
