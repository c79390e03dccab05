"""What certificates are to be like: lifetimes, names, curve. Reads `profile.toml`; knows nothing of X.509."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from webhook.errors import UserError

Days = Annotated[int, Meta(ge=1, le=36_500)]
CommonName = Annotated[str, Meta(min_length=1, max_length=64)]
"""X.520 `ub-common-name` is 64."""


class Authority(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    common_name: CommonName
    days: Days


class Serving(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    common_name: CommonName
    """For people only: the API server verifies subject alternative names and never looks at it."""
    days: Days
    cluster_domain: str
    dns: tuple[str, ...]
    ip: tuple[str, ...]


class Keys(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    curve: Literal["P-256", "P-384"]


class Clock(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    backdate_minutes: Annotated[int, Meta(ge=0, le=1_440)]


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `profile.toml`; the fields are explained there."""

    authority: Authority
    serving: Serving
    keys: Keys
    clock: Clock


_PACKAGED = Path(__file__).with_name("profile.toml")


def default() -> Profile:
    """The profile in the wheel."""
    return msgspec.convert(tomllib.loads(_PACKAGED.read_text("utf-8")), Profile)


def read(path: Path) -> Profile:
    """The profile in `path` laid over the default, section by section. Raises `UserError`, `OSError`."""
    merged = tomllib.loads(_PACKAGED.read_text("utf-8"))
    try:
        for section, values in tomllib.loads(path.read_text("utf-8")).items():
            if isinstance(values, dict) and isinstance(merged.get(section), dict):
                merged[section] |= values
            else:
                merged[section] = values
        return msgspec.convert(merged, Profile)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise UserError(f"{path}: {error}; certs/profile.toml shows what may stand here") from None
