"""What an operator may set for `serve`: one frozen `Settings`, each field said once.

A field gives the flag (`--tls-cert`), the environment name (`WOULDBLOCK_TLS_CERT`), the help text and the row of the
documentation. Flags win over the environment, the environment over defaults. Only `cli` and `serve/server` read
this; no other module reads the environment.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from webhook.errors import UserError

PREFIX = "WOULDBLOCK_"

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1)]


class Settings(Struct, frozen=True, kw_only=True):
    """Every setting of `serve`. The first text of a field's `Meta` is its documentation."""

    host: Annotated[str, Meta(description="address to listen on; empty for all of IPv4 and IPv6")] = ""
    port: Annotated[Port, Meta(description="port of the webhook; 0 takes a free one and logs it")] = 8443
    metrics_port: Annotated[
        Port, Meta(description="port of /metrics, /healthz and /readyz, plain HTTP; 0 takes a free one")
    ] = 8080
    tls_cert: Annotated[
        Path | None, Meta(description="serving certificate, PEM, with its chain; read again when it changes")
    ] = None
    tls_key: Annotated[Path | None, Meta(description="its private key, PEM; read again when it changes")] = None
    client_ca: Annotated[
        Path | None,
        Meta(
            description="demand a client certificate signed by this CA; whoever has none is refused in the handshake, "
            "so an API server without one fails open on every call"
        ),
    ] = None
    policies: Annotated[tuple[Path, ...], Meta(description="policy files or folders; none: the shipped set")] = ()
    enable: Annotated[
        tuple[str, ...], Meta(description="policies that are off by default and wanted; `all` for every one")
    ] = ()
    kubernetes_version: Annotated[
        Literal["1.34", "1.35", "1.36", "1.37"],
        Meta(description="version of the API server, whose CEL functions policies may use"),
    ] = "1.37"
    exemptions: Annotated[
        Path | None, Meta(description="exemptions file: what it covers is recorded, without warning")
    ] = None
    snapshot: Annotated[
        tuple[Path, ...], Meta(description="cluster state: files or folders that `kubectl get -o yaml` wrote")
    ] = ()
    pod_security_level: Annotated[
        Literal["privileged", "baseline", "restricted"],
        Meta(description="level for namespaces whose pod-security labels are absent or unknown"),
    ] = "restricted"
    pod_security_version: Annotated[
        str, Meta(pattern=r"^(latest|v1\.[0-9]{1,3})$", description="its version: latest or v1.N")
    ] = "latest"
    budget_ms: Annotated[float, Meta(gt=0, le=500, description="work that a review may take, in milliseconds")] = 5.0
    large_body_bytes: Annotated[
        Positive, Meta(description="a body above this is admitted unseen (`incomplete: size`), never decoded")
    ] = 512 * 1024
    max_in_flight: Annotated[
        Positive, Meta(description="reviews whose body may be arriving at once; beyond, they are admitted unseen")
    ] = 512
    max_bytes: Annotated[
        Positive, Meta(description="bytes of arriving bodies held at once; beyond, reviews are admitted unseen")
    ] = 32 * 1024 * 1024
    max_wait_ms: Annotated[
        float, Meta(gt=0, description="a review that has waited longer for its turn is admitted unseen")
    ] = 100.0
    keep_alive: Annotated[
        int, Meta(ge=91, description="seconds an idle connection is kept; the API server closes its own after 90")
    ] = 180
    drain_seconds: Annotated[
        float, Meta(ge=0, description="longest time between SIGTERM and the end; ends earlier once nobody is connected")
    ] = 100.0
    mute_warnings: Annotated[bool, Meta(description="send no warnings; findings are recorded all the same")] = False
    record: Annotated[
        Path | None,
        Meta(description="folder, mode 0700, that reviews are recorded into, redacted, for `wouldblock backtest`"),
    ] = None
    record_rate: Annotated[
        float, Meta(gt=0, le=1, description="share of the reviews that is recorded: 0.1 is every tenth")
    ] = 1.0
    record_bytes: Annotated[
        int, Meta(ge=1024 * 1024, description="size of the record on disk; the oldest part is deleted")
    ] = 256 * 1024 * 1024
    record_days: Annotated[float, Meta(gt=0, description="age in days at which a part of the record is deleted")] = 7.0
    record_env: Annotated[
        bool, Meta(description="record literal values of environment variables; what looks like a secret is not")
    ] = False
    record_config_maps: Annotated[
        bool, Meta(description="record values of ConfigMaps; what looks like a secret is not")
    ] = False
    traces: Annotated[
        Literal["off", "log", "otlp"],
        Meta(description="OpenTelemetry spans: none, as log lines, or exported (needs the extra `otlp`)"),
    ] = "off"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least level that is logged")
    ] = "info"


class Row(Struct, frozen=True):
    """One setting as it is documented."""

    field: str
    flag: str
    environment: str
    default: str
    text: str


def rows() -> tuple[Row, ...]:
    """The settings in the order in which they are declared."""
    return tuple(
        Row(
            field=field.name,
            flag="--" + field.name.replace("_", "-"),
            environment=PREFIX + field.name.upper(),
            default=_default(field.default),
            text=_meta(field.name).description or "",
        )
        for field in msgspec.structs.fields(Settings)
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """A flag for each field; values stay text until `read`."""
    for row in rows():
        hint = _bare(row.field)
        text = f"{row.text} [{row.environment}; default {row.default}]".replace("%", "%%")
        if hint is bool:
            parser.add_argument(row.flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        elif get_origin(hint) is tuple:
            metavar = _metavar(get_args(hint)[0])
            parser.add_argument(row.flag, nargs="+", action="extend", metavar=metavar, default=None, help=text)
        else:
            parser.add_argument(row.flag, metavar=_metavar(hint), default=None, help=text)


def read(args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that flags and environment name. Raises `UserError` naming the flag or variable."""
    given: dict[str, Any] = {}
    for row in rows():
        value = getattr(args, row.field, None)
        where = row.flag
        if value is None:
            value = environment.get(row.environment)
            where = row.environment
            if value is None or value == "":
                continue
            if get_origin(_bare(row.field)) is tuple:
                value = [part for part in value.split(os.pathsep) if part]
        try:
            given[row.field] = msgspec.convert(value, _hints[row.field], strict=False, dec_hook=_path)
        except msgspec.ValidationError as error:
            raise UserError(f"{where} {value!r}: {_lower(str(error))}; {row.text}") from None
    return Settings(**given)


_hints = get_type_hints(Settings, include_extras=True)


def _path(kind: type, value: object) -> Path:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise msgspec.ValidationError("Expected a path")


def _meta(field: str) -> Meta:
    """The `Meta` that carries the field's text: the last one, for `Port` and the like bring their own."""
    return [each for each in get_args(_hints[field]) if isinstance(each, Meta)][-1]


def _bare(field: str) -> Any:
    hint = _hints[field]
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _metavar(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "|".join(get_args(hint))
    return {int: "N", float: "N", str: "TEXT"}.get(hint, "PATH")


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "no" if not value else "yes"
    return "none" if value in (None, (), "") else f"{value:g}" if isinstance(value, float) else str(value)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
