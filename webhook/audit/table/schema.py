"""The columns of the facts table, as data: Arrow, Parquet, DuckDB and the documentation derive from it.

Needs no library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    import pyarrow

Type = Literal["text", "words", "date", "time", "uint64", "int32", "int16", "bool"]
"""`words`: text of which few values occur, kept as a dictionary. `time`: microseconds, UTC."""


class Column(Struct, frozen=True):
    name: str
    type: Type
    doc: str
    nullable: bool = False

    @property
    def kind(self) -> str:
        """Its type as Arrow calls it."""
        return _ARROW[self.type]


_ARROW = {
    "text": "string",
    "words": "string",
    "date": "date32",
    "time": "timestamp[us, UTC]",
    "uint64": "uint64",
    "int32": "int32",
    "int16": "int16",
    "bool": "bool",
}

COLUMNS: tuple[Column, ...] = (
    Column("cluster", "words", "the cluster: `--cluster`, else what the export says, else empty"),
    Column("day", "date", "UTC day of `time`; null where `time` is", nullable=True),
    Column("time", "time", "when the request came in; null where that was cut off", nullable=True),
    Column("audit_id", "text", "the API server's `auditID`: look the event up by it"),
    Column("request", "uint64", "hash of `auditID` (or of verb and URI): with `cluster` and `time` it names the write"),
    Column(
        "kind",
        "words",
        "`write`: a write, once; `finding`: what one source says of one policy; `blind`: what could not be seen",
    ),
    Column(
        "source",
        "words",
        "who found it: `wouldblock`, `vap`, `pod-security`, `gatekeeper`, `kyverno`, `denial` (it really was refused)",
    ),
    Column("policy", "words", "id of the policy; of a denial the policy, webhook or Pod Security level that refused"),
    Column(
        "result",
        "words",
        "of a finding: `violation`, `error`, `exempted`, `not_comparable`, `unreviewed`, `denied`; of a write: "
        "`reviewed`, `rejected`, `dry_run`, `truncated`, `failed_open`, `incomplete`, `unknown`; of a blind spot: "
        "`failed_open`, `truncated`, `incomplete`, `shed`, `not_comparable`, `unreadable`",
    ),
    Column("reason", "text", "in detail: exemption, why incomplete or not comparable, Pod Security `level:version`"),
    Column("message", "text", "the finding's text, at most 512 characters; never a body"),
    Column("preexisting", "bool", "the object that an UPDATE replaced had the same finding"),
    Column("operation", "words", "`CREATE`, `UPDATE`, `DELETE` or `CONNECT`"),
    Column("group", "words", "API group of the resource, empty for core"),
    Column("version", "words", "API version of the request"),
    Column("resource", "words", "plural, such as `pods`"),
    Column("subresource", "words", "such as `status`, mostly empty"),
    Column("namespace", "words", "empty for what is cluster-scoped"),
    Column("name", "text", "of the object; empty where the server generated it"),
    Column("root_kind", "words", "kind of the workload that the object belongs to: `Deployment`; empty if unknown"),
    Column("root_name", "text", "name of that workload"),
    Column("user", "words", "who asked; the impersonated user, if any"),
    Column("client", "words", "first word of the User-Agent: `kubectl`, `helm`, `kube-controller-manager`"),
    Column("by_controller", "bool", "a Kubernetes controller wrote: the write follows from somebody else's"),
    Column("dry_run", "bool", "nothing was to be stored"),
    Column("rejected", "bool", "the API server refused it, for whatever reason"),
    Column("code", "int16", "HTTP status, 0 when it is not known"),
    Column("set_digest", "words", "policy set of our review"),
    Column("snapshot", "words", "cluster state that our review knew"),
    Column("requests", "int32", "events (stages, duplicates) that were merged into the row; informational"),
    Column("stage", "words", "the stage of the request that was read"),
    Column("trial", "text", "one state of the workload's template, such as a ReplicaSet's hash; empty for its own"),
    Column("evaluated", "text", "policies that our review evaluated: bits in the set's order, hexadecimal"),
    Column("enforced", "words", "Pod Security `level:version` that the server enforced: it looked at this pod"),
    Column("weight", "uint64", "which of several records of one write speaks for it: the largest; no figure"),
)

KEY = ("cluster", "time", "request", "kind", "source", "policy", "reason")
"""Names a row."""
WRITE = ("cluster", "time", "request")
"""Names the write that a row is about."""
ORDER = ("kind", "namespace", "root_kind", "root_name", "policy", *KEY)
"""In which rows lie in a file: who asks for one kind passes over the others, and equal texts come together."""
MESSAGE = 512
"""Code points of a message that are kept."""

_DUCKDB = {
    "text": "VARCHAR",
    "words": "VARCHAR",
    "date": "DATE",
    "time": "TIMESTAMPTZ",
    "uint64": "UBIGINT",
    "int32": "INTEGER",
    "int16": "SMALLINT",
    "bool": "BOOLEAN",
}


def sql_type(column: Column) -> str:
    """Its type in DuckDB."""
    return _DUCKDB[column.type]


def arrow() -> pyarrow.Schema:
    """The table's Arrow schema."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "words": pa.string(),
        "date": pa.date32(),
        "time": pa.timestamp("us", tz="UTC"),
        "uint64": pa.uint64(),
        "int32": pa.int32(),
        "int16": pa.int16(),
        "bool": pa.bool_(),
    }
    return pa.schema([pa.field(each.name, types[each.type], nullable=each.nullable) for each in COLUMNS])
