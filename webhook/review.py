"""AdmissionReview v1, as the API server sends it and as it reads the answer.

Objects stay raw bytes until a policy asks (`Context` decodes once). `allowed` is `Literal[True]` in the
type and always written: the API server reads an answer without it as a denial, even under
`failurePolicy: Ignore`.

Source: `k8s.io/api/admission/v1`, `apiserver pkg/admission/plugin/webhook/request`.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

API_VERSION = "admission.k8s.io/v1"
NULL = Raw(b"null")

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


class GroupVersionKind(Struct, frozen=True, gc=False):
    group: str = ""
    version: str = ""
    kind: str = ""


class GroupVersionResource(Struct, frozen=True, gc=False):
    group: str = ""
    version: str = ""
    resource: str = ""


class UserInfo(Struct, frozen=True, gc=False):
    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] | None = None
    extra: dict[str, tuple[str, ...]] | None = None


class Request(Struct, frozen=True, rename="camel", kw_only=True):
    """One admission request. Empty strings stand for fields that the API server omits."""

    uid: str
    kind: GroupVersionKind
    resource: GroupVersionResource
    sub_resource: str = ""
    request_kind: GroupVersionKind | None = None
    request_resource: GroupVersionResource | None = None
    request_sub_resource: str = ""
    name: str = ""
    namespace: str = ""
    operation: Operation
    user_info: UserInfo = UserInfo()
    object: Raw = NULL
    old_object: Raw = NULL
    options: Raw = NULL
    dry_run: bool | None = False


class Review(Struct, frozen=True, rename="camel", kw_only=True):
    api_version: str
    kind: Literal["AdmissionReview"]
    request: Request


class Response(Struct, frozen=True, rename="camel", kw_only=True):
    """The answer. There is no way to write one that denies."""

    uid: str
    allowed: Literal[True] = True
    warnings: list[str] | msgspec.UnsetType = msgspec.UNSET
    audit_annotations: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class ReviewResponse(Struct, frozen=True, rename="camel", kw_only=True):
    api_version: str = API_VERSION
    kind: Literal["AdmissionReview"] = "AdmissionReview"
    response: Response


_decoder = msgspec.json.Decoder(Review)
_encoder = msgspec.json.Encoder()
_object_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()

_UID = re.compile(rb'"uid"\s*:\s*"([0-9A-Za-z._:-]{1,128})"')
_UID_WINDOW = 512
"""The API server writes the uid within the first 120 bytes; other writers get some slack."""


def decode(body: bytes) -> Review:
    """The review in `body`. Raises `msgspec.DecodeError` or `RecursionError` for anything else."""
    review = _decoder.decode(body)
    if review.api_version != API_VERSION:
        raise msgspec.ValidationError(f"apiVersion {review.api_version!r}, expected {API_VERSION!r}")
    return review


def encode(answer: ReviewResponse) -> bytes:
    return _encoder.encode(answer)


def decode_object(raw: Raw) -> Any:
    """The JSON value of an object: dict, or None for `null`. Raises as `decode`."""
    return _object_decoder.decode(raw)


def recover_uid(body: bytes | bytearray | memoryview) -> str:
    """The request's uid out of a body that cannot be decoded, or an empty string."""
    found = _UID.search(bytes(body[:_UID_WINDOW]))
    return found[1].decode("ascii") if found else ""
