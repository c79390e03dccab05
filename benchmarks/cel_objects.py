"""The objects that expressions are asked about: Deployments of about 2, 10 and 150 KB, and an UPDATE of 10 KB.

As an API server sends them, but without managedFields, which no expression looks at. Seeded.
"""

from __future__ import annotations

import copy
import random
from typing import Any

import msgspec

from webhook.bench import corpus, objects

SIZES = ("2 KB", "10 KB", "150 KB")
UID = "00000000-0000-4000-8000-000000000000"


def deployments() -> dict[str, dict[str, Any]]:
    """By size."""
    rng = random.Random(5)
    small = _bare(objects.deployment(rng, "payments-prod", containers=1))
    small.pop("status", None)
    spec = small["spec"]["template"]["spec"]
    spec.pop("initContainers", None)
    for container in spec["containers"]:
        container["env"] = container["env"][:1]
    middle = _bare(objects.deployment(rng, "payments-prod", containers=7))
    return dict(zip(SIZES, (small, middle, _wide(middle, 150_000)), strict=True))


def update() -> bytes:
    """The review of an UPDATE of a Deployment, about 10 KB in all."""
    reviews = [one for one in corpus.generate(1, 500) if one.label == "UPDATE deployments"]
    return min(reviews, key=lambda one: abs(one.size() - 10_300)).body.filled(UID)


def size(value: Any) -> int:
    return len(msgspec.json.encode(value))


def _bare(value: dict[str, Any]) -> dict[str, Any]:
    value["metadata"].pop("managedFields", None)
    return value


def _wide(value: dict[str, Any], least: int) -> dict[str, Any]:
    """The same with its containers over and over, until it is large enough."""
    wide = copy.deepcopy(value)
    containers = wide["spec"]["template"]["spec"]["containers"]
    number = 0
    while size(wide) < least:
        one = copy.deepcopy(containers[number % 7])
        one["name"] = f"{one['name']}-{number}"
        containers.append(one)
        number += 1
    return wide
