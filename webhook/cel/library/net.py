"""Addresses and networks (`apiserver pkg/cel/library/{ip,cidr}.go`), parsed by the rules of Go's `net/netip`."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from webhook.cel.equality import Library
from webhook.cel.error import CelError, no_overload
from webhook.cel.overload import row
from webhook.cel.text import go_quote
from webhook.cel.values import register

_HEX: Final = frozenset("0123456789abcdefABCDEF")
_MAPPED: Final = 0xFFFF


class BadAddress(Exception):
    def __init__(self, message: str, at: str = "") -> None:
        self.message = message
        self.at = at
        super().__init__(message)


class IP(Library):
    __slots__ = ("bits", "number")
    tag = "ip"

    def __init__(self, number: int, bits: int) -> None:
        self.number = number
        self.bits = bits

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IP) and self.same(other)

    def __hash__(self) -> int:
        return hash((self.bits, self.number))

    def same(self, other: IP) -> bool:
        return self.bits == other.bits and self.number == other.number

    def text(self) -> str:
        return str(ipaddress.IPv4Address(self.number) if self.bits == 32 else ipaddress.IPv6Address(self.number))


class CIDR(Library):
    __slots__ = ("address", "length")
    tag = "cidr"

    def __init__(self, address: IP, length: int) -> None:
        self.address = address
        self.length = length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CIDR) and self.same(other)

    def __hash__(self) -> int:
        return hash((self.length, self.address))

    def same(self, other: CIDR) -> bool:
        return self.length == other.length and self.address.same(other.address)

    def text(self) -> str:
        return f"{self.address.text()}/{self.length}"


register(IP, "net.IP", "cel.IP")
register(CIDR, "net.CIDR", "cel.CIDR")


def _v4(text: str) -> int:
    fields: list[int] = []
    value = digits = 0
    for at, character in enumerate(text):
        if "0" <= character <= "9":
            if digits == 1 and value == 0:
                raise BadAddress("IPv4 field has octet with leading zero")
            value = value * 10 + int(character)
            digits += 1
            if value > 255:
                raise BadAddress("IPv4 field has value >255")
        elif character == ".":
            if at == 0 or at == len(text) - 1 or text[at - 1] == ".":
                raise BadAddress("IPv4 field must have at least one digit", text[at:])
            if len(fields) == 3:
                raise BadAddress("IPv4 address too long")
            fields.append(value)
            value = digits = 0
        else:
            raise BadAddress("unexpected character", text[at:])
    if len(fields) < 3:
        raise BadAddress("IPv4 address too short")
    return int.from_bytes(bytes([*fields, value]), "big")


def _v6(text: str) -> int:
    groups: list[int] = []
    gap = -1
    rest = text
    if rest.startswith("::"):
        gap = 0
        rest = rest[2:]
        if not rest:
            return 0
    while len(groups) < 8:
        width = next((at for at, character in enumerate(rest) if character not in _HEX), len(rest))
        if width > 4:
            raise BadAddress("each group must have 4 or less digits", rest)
        if width == 0:
            raise BadAddress("each colon-separated field must have at least one digit", rest)
        if rest[width : width + 1] == ".":
            if gap < 0 and len(groups) != 6:
                raise BadAddress("embedded IPv4 address must replace the final 2 fields of the address", rest)
            if len(groups) > 6:
                raise BadAddress("too many hex fields to fit an embedded IPv4 at the end of the address", rest)
            number = _v4(rest)
            groups += [number >> 16, number & 0xFFFF]
            rest = ""
            break
        groups.append(int(rest[:width], 16))
        rest = rest[width:]
        if not rest:
            break
        if rest[0] != ":":
            raise BadAddress("unexpected character, want colon", rest)
        if len(rest) == 1:
            raise BadAddress("colon must be followed by more characters", rest)
        rest = rest[1:]
        if rest[0] == ":":
            if gap >= 0:
                raise BadAddress("multiple :: in address", rest)
            gap = len(groups)
            rest = rest[1:]
            if not rest:
                break
    if rest:
        raise BadAddress("trailing garbage after address", rest)
    if len(groups) < 8:
        if gap < 0:
            raise BadAddress("address string too short")
        groups[gap:gap] = [0] * (8 - len(groups))
    elif gap >= 0:
        raise BadAddress("the :: must expand to at least one field of zeros")
    return sum(group << (112 - 16 * at) for at, group in enumerate(groups))


def parse_address(text: str) -> tuple[IP, str]:
    """(the address, its zone). Raises `BadAddress`."""
    for character in text:
        if character == ".":
            return IP(_v4(text), 32), ""
        if character == ":":
            break
        if character == "%":
            raise BadAddress("missing IPv6 address")
    else:
        raise BadAddress("unable to parse IP")
    address, percent, zone = text.partition("%")
    if percent and not zone:
        raise BadAddress("zone must be a non-empty string")
    return IP(_v6(address), 128), zone


def parse_text(text: str, error: BadAddress) -> str:
    at = f" (at {go_quote(error.at)})" if error.at else ""
    return f"ParseAddr({go_quote(text)}): {error.message}{at}"


def ip(text: str) -> IP:
    try:
        found, zone = parse_address(text)
    except BadAddress as error:
        raise CelError(
            f"IP Address {go_quote(text)} parse error during conversion from string: {parse_text(text, error)}"
        ) from None
    if zone:
        raise CelError(f"IP address {go_quote(text)} with zone value is not allowed")
    if found.bits == 128 and found.number >> 32 == _MAPPED:
        raise CelError(f"IPv4-mapped IPv6 address {go_quote(text)} is not allowed")
    return found


def is_ip(text: str) -> bool:
    try:
        ip(text)
    except CelError:
        return False
    return True


def is_canonical(text: str) -> bool:
    return ip(text).text() == text


def cidr(text: str) -> CIDR:
    try:
        return _cidr(text)
    except CelError as error:
        where = "network address parse error during conversion from string: "
        twice = "" if error.text.startswith("IPv4-mapped") else where
        raise CelError(f"{where}{twice}{error.text}") from None


def _cidr(text: str) -> CIDR:
    where = f"netip.ParsePrefix({go_quote(text)}): "
    address, slash, bits = text.rpartition("/")
    if not slash:
        raise CelError(f"{where}no '/'")
    try:
        found, zone = parse_address(address)
    except BadAddress as error:
        raise CelError(where + parse_text(address, error)) from None
    if zone:
        raise CelError(f"{where}IPv6 zones cannot be present in a prefix")
    if not re.fullmatch(r"[0-9]+", bits, re.ASCII) or (len(bits) > 1 and bits[0] == "0") or len(bits) > 3:
        raise CelError(f"{where}bad bits after slash: {go_quote(bits)}")
    if int(bits) > found.bits:
        raise CelError(f"{where}prefix length out of range")
    if found.bits == 128 and found.number >> 32 == _MAPPED:
        raise CelError(f"IPv4-mapped IPv6 address {go_quote(text)} is not allowed")
    return CIDR(found, int(bits))


def is_cidr(text: str) -> bool:
    try:
        cidr(text)
    except CelError:
        return False
    return True


def text_of(value: IP | CIDR) -> str:
    return value.text()


def family(value: IP) -> int:
    return 4 if value.bits == 32 else 6


def is_unspecified(value: IP) -> bool:
    return value.number == 0


def is_loopback(value: IP) -> bool:
    return value.number >> 24 == 127 if value.bits == 32 else value.number == 1


def is_link_local_multicast(value: IP) -> bool:
    if value.bits == 32:
        return value.number >> 8 == 0xE00000
    return value.number >> 120 == 0xFF and (value.number >> 112) & 0x0F == 0x02


def is_link_local_unicast(value: IP) -> bool:
    return value.number >> 16 == 0xA9FE if value.bits == 32 else value.number >> 118 == 0x3FA


def is_global_unicast(value: IP) -> bool:
    multicast = value.number >> 28 == 0xE if value.bits == 32 else value.number >> 120 == 0xFF
    broadcast = value.bits == 32 and value.number == 0xFFFFFFFF
    return not (multicast or broadcast or is_unspecified(value) or is_loopback(value) or is_link_local_unicast(value))


def contains_ip(network: CIDR, address: IP) -> bool:
    if network.address.bits != address.bits:
        return False
    shift = address.bits - network.length
    return network.address.number >> shift == address.number >> shift


def contains_ip_text(network: CIDR, text: str) -> bool:
    try:
        address = ip(text)
    except CelError:
        raise no_overload() from None
    return contains_ip(network, address)


def contains_cidr(network: CIDR, inner: CIDR) -> bool:
    return network.length <= inner.length and contains_ip(network, inner.address)


def contains_cidr_text(network: CIDR, text: str) -> bool:
    return contains_cidr(network, cidr(text))


def address_of(network: CIDR) -> IP:
    return network.address


def masked(network: CIDR) -> CIDR:
    shift = network.address.bits - network.length
    return CIDR(IP(network.address.number >> shift << shift, network.address.bits), network.length)


def prefix_length(network: CIDR) -> int:
    return network.length


OVERLOADS: Final = (
    row("ip(string) -> net.IP", ip),
    row("isIP(string) -> bool", is_ip, total=True),
    row("ip.isCanonical(string) -> bool", is_canonical),
    row("string(net.IP) -> string", text_of, total=True),
    row("string(net.CIDR) -> string", text_of, total=True),
    row("net.IP.family() -> int", family, total=True),
    row("net.IP.isUnspecified() -> bool", is_unspecified, total=True),
    row("net.IP.isLoopback() -> bool", is_loopback, total=True),
    row("net.IP.isLinkLocalMulticast() -> bool", is_link_local_multicast, total=True),
    row("net.IP.isLinkLocalUnicast() -> bool", is_link_local_unicast, total=True),
    row("net.IP.isGlobalUnicast() -> bool", is_global_unicast, total=True),
    row("cidr(string) -> net.CIDR", cidr),
    row("isCIDR(string) -> bool", is_cidr, total=True),
    row("net.CIDR.containsIP(string) -> bool", contains_ip_text),
    row("net.CIDR.containsIP(net.IP) -> bool", contains_ip, total=True),
    row("net.CIDR.containsCIDR(string) -> bool", contains_cidr_text),
    row("net.CIDR.containsCIDR(net.CIDR) -> bool", contains_cidr, total=True),
    row("net.CIDR.ip() -> net.IP", address_of, total=True),
    row("net.CIDR.masked() -> net.CIDR", masked, total=True),
    row("net.CIDR.prefixLength() -> int", prefix_length, total=True),
)
