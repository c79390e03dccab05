"""The frozen set of policies: order, dispatch by what a request is about, digest.

Built once, at load. A request that no policy matches costs one dictionary look-up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from webhook.errors import Problem
from webhook.match import matches_resource
from webhook.policy import Policy, PolicyRecord, SetRecord
from webhook.review import GroupVersionResource, Request
from webhook.sweep import Pair, Plan

_Key = tuple[str, ...]


class PolicySet:
    """Policies in set order. `digest` names exactly this order and these policies, with their params."""

    __slots__ = ("_dispatch", "broken", "digest", "policies")

    def __init__(self, policies: Sequence[Policy], *, broken: Sequence[Problem] = ()) -> None:
        """`broken` are the problems of policies that could not be loaded and are not in the set."""
        self.policies = tuple(policies)
        self.broken = tuple(broken)
        text = "\n".join(f"{policy.id} {policy.digest}" for policy in self.policies)
        self.digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._dispatch: dict[_Key, Plan] = {}

    def candidates(self, request: Request) -> tuple[Pair, ...]:
        """(position in the set, policy) of all whose rules name this request's resource and operation.

        Selectors, resource names and match conditions are the policies' own business.
        """
        return self.plan(request).pairs

    def plan(self, request: Request) -> Plan:
        """How to ask the candidates."""
        resource, original = request.resource, request.request_resource
        key: _Key = (resource.group, resource.version, resource.resource, request.sub_resource, request.operation)
        if original is not None and original != resource:
            key += (original.group, original.version, original.resource, request.request_sub_resource)
        return self._dispatch.get(key) or self._planned(key, request)

    def _planned(self, key: _Key, request: Request) -> Plan:
        resource, original = request.resource, request.request_resource
        asked = (resource.group, resource.version, resource.resource, request.sub_resource, request.operation)
        pairs = tuple(pair for pair in enumerate(self.policies) if matches_resource(pair[1].match, *asked))
        if original is not None and original != resource:
            pairs = tuple(pair for pair in pairs if _takes_converted(pair[1], original, request))
        # What a plan learns of its candidates takes room: requests that have the same ones have one plan.
        found = next((plan for plan in self._dispatch.values() if plan.pairs == pairs), None) or Plan(pairs)
        if sum(map(len, key)) <= _KEY_RUNES:
            if len(self._dispatch) >= _DISPATCH_MAX:
                self._dispatch.clear()
            self._dispatch[key] = found
        return found


def _takes_converted(policy: Policy, original: GroupVersionResource, request: Request) -> bool:
    """Whether a policy is about a write that the API server converted to another version for some policy.

    One that names the write's own version is asked about that one, in the call of another entry (`subscription.py`).
    """
    if policy.match.match_policy == "Exact":
        return False
    subresource = request.request_sub_resource or request.sub_resource
    asked = (original.group, original.version, original.resource, subresource, request.operation)
    return not matches_resource(policy.match, *asked)


_DISPATCH_MAX = 4_096
_KEY_RUNES = 1_024
"""Requests name their resources: a hostile client must neither grow the table for ever nor fill it for good. Names that
Kubernetes accepts are shorter."""


def archive(policies: PolicySet) -> SetRecord:
    """What the audit side must know of the set to read its annotations (`policies manifest`)."""
    return SetRecord(
        digest=policies.digest,
        policies=tuple(
            PolicyRecord(
                id=policy.id,
                digest=policy.digest,
                meta=policy.meta,
                match=policy.match,
                bindings=policy.bindings,
                namespace_match=policy.namespace_match,
            )
            for policy in policies.policies
        ),
    )
