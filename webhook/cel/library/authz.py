"""The authorizer library: it type-checks here and has no answer. Only the cluster's authorizer knows, so reading the
variable `authorizer` raises `NotComparable` (`Activation.authorizer`), and none of these is ever called."""

from __future__ import annotations

from typing import Any, Final

from webhook.cel.overload import row
from webhook.errors import NotComparable

_A: Final = "kubernetes.authorization.Authorizer"
_P: Final = "kubernetes.authorization.PathCheck"
_G: Final = "kubernetes.authorization.GroupCheck"
_R: Final = "kubernetes.authorization.ResourceCheck"
_D: Final = "kubernetes.authorization.Decision"


def ask(*_: Any) -> Any:
    raise NotComparable("the policy asks the cluster's authorizer")


OVERLOADS: Final = tuple(
    row(signature, ask)
    for signature in (
        f"{_A}.path(string) -> {_P}",
        f"{_P}.check(string) -> {_D}",
        f"{_A}.group(string) -> {_G}",
        f"{_A}.serviceAccount(string, string) -> {_A}",
        f"{_G}.resource(string) -> {_R}",
        f"{_R}.subresource(string) -> {_R}",
        f"{_R}.namespace(string) -> {_R}",
        f"{_R}.name(string) -> {_R}",
        f"{_R}.fieldSelector(string) -> {_R}",
        f"{_R}.labelSelector(string) -> {_R}",
        f"{_R}.check(string) -> {_D}",
        f"{_D}.errored() -> bool",
        f"{_D}.error() -> string",
        f"{_D}.allowed() -> bool",
        f"{_D}.reason() -> string",
    )
)
