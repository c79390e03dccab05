"""Event lines → the bytes of a file, in each format that logs are exported in, by the formats' documented rules.

For generated logs of any size and for tests. Packed formats need one of zlib's and zstandard's decompressors to read.
"""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import zstandard


def _cloudwatch(lines: list[bytes]) -> dict[str, Any]:
    each = [
        {"id": str(i), "timestamp": 1_700_000_000_000 + i, "message": line.decode()} for i, line in enumerate(lines)
    ]
    return {"messageType": "DATA_MESSAGE", "logGroup": "/aws/eks/x/cluster", "logStream": "s", "logEvents": each}


def _json_lines(wrap: Callable[[bytes], Any]) -> Callable[[list[bytes]], bytes]:
    return lambda lines: b"".join(json.dumps(wrap(line)).encode() + b"\n" for line in lines)


def _cri(lines: list[bytes]) -> bytes:
    found = []
    for line in lines:
        pieces = [line[at : at + 997] for at in range(0, len(line), 997)]
        found += [b"2026-11-24T10:00:00.123456789Z stdout P " + piece for piece in pieces[:-1]]
        found.append(b"2026-11-24T10:00:00.123456789Z stderr F I0612 klog")
        found.append(b"2026-11-24T10:00:00.123456789Z stdout F " + pieces[-1])
    return b"\n".join(found) + b"\n"


def _docker(lines: list[bytes]) -> bytes:
    found = []
    for line in lines:
        text = line.decode() + "\n"
        found += [
            json.dumps({"log": text[at : at + 997], "stream": "stdout", "time": "2026-11-24T10:00:00Z"})
            for at in range(0, len(text), 997)
        ]
    return "\n".join(found).encode()


def _table(lines: list[bytes]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["@timestamp", "@message"])
    writer.writerows([["2026-11-24 10:00:00.000", line.decode()] for line in lines])
    return text.getvalue().encode()


def _aks(lines: list[bytes]) -> bytes:
    records = [
        {"category": "kube-audit", "properties": {"log": line.decode() + "\n", "stream": "stdout"}} for line in lines
    ]
    return b"".join(json.dumps(each).replace("/", "\\/").encode() + b"\n" for each in records)


def _zip(lines: list[bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, line in enumerate(lines):
            archive.writestr(f"{number}.log", line)
    return held.getvalue()


ENVELOPES: dict[str, Callable[[list[bytes]], bytes]] = {
    "lines": b"\n".join,
    "crlf": b"\r\n".join,
    "utf-16": lambda lines: b"\n".join(lines).decode().encode("utf-16"),
    "pretty": lambda lines: b"\n".join(json.dumps(json.loads(line), indent=2).encode() for line in lines),
    "concatenated": b"".join,
    "array": lambda lines: json.dumps([json.loads(line) for line in lines]).encode(),
    "array of lines": lambda lines: b"[\n" + b",\n".join(lines) + b"\n]\n",
    "pretty array": lambda lines: json.dumps([json.loads(line) for line in lines], indent=4).encode(),
    "event list": lambda lines: (
        b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[' + b",".join(lines) + b"]}"
    ),
    "sorted": _json_lines(lambda line: dict(sorted(json.loads(line).items()))),
    "cloudwatch": lambda lines: json.dumps(_cloudwatch(lines)).encode(),
    "cloudwatch data": lambda lines: base64.b64encode(gzip.compress(json.dumps(_cloudwatch(lines)).encode())),
    "firehose": lambda lines: b"".join(json.dumps(_cloudwatch([line])).encode() for line in lines),
    "aks": _aks,
    "aks object": _json_lines(lambda line: {"category": "kube-audit-admin", "properties": {"log": json.loads(line)}}),
    "azure diagnostics": _json_lines(lambda line: {"Category": "kube-audit", "log_s": line.decode()}),
    "vector": _json_lines(lambda line: {"file": "f", "message": line.decode(), "source_type": "file"}),
    "splunk": _json_lines(lambda line: {"preview": False, "result": {"_raw": line.decode()}}),
    "splunk hec": _json_lines(lambda line: {"time": 1.5, "event": json.loads(line)}),
    "graylog": _json_lines(lambda line: {"message": json.dumps({"short_message": line.decode()})}),
    "loki push": lambda lines: json.dumps(
        {"streams": [{"stream": {}, "values": [["1700000000000000000", line.decode()] for line in lines]}]}
    ).encode(),
    "otlp": lambda lines: json.dumps(
        {
            "resourceLogs": [
                {"scopeLogs": [{"logRecords": [{"body": {"stringValue": line.decode()}} for line in lines]}]}
            ]
        }
    ).encode(),
    "elastic": _json_lines(lambda line: {"_source": {"kubernetes": {"audit": json.loads(line)}}}),
    "cri": _cri,
    "docker": _docker,
    "syslog": lambda lines: b"\n".join(
        b"<134>1 2026-11-24T10:00:00Z node1 kube-apiserver - - - " + each for each in lines
    ),
    "insights csv": _table,
    "gzip": lambda lines: gzip.compress(b"\n".join(lines) + b"\n", compresslevel=6),
    "zstd": lambda lines: zstandard.compress(b"\n".join(lines) + b"\n"),
    "zstd in gzip": lambda lines: gzip.compress(zstandard.compress(b"\n".join(lines))),
    "zip": _zip,
}

BINARY = frozenset(("gzip", "zstd", "zstd in gzip", "zip", "utf-16", "insights csv"))
"""Those that cannot stand in one file with others."""
CONCATENATED = frozenset(("gzip", "zstd"))
"""Binary ones that may be written one after the other."""
