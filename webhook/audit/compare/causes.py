"""Why a refusal was not predicted, and why a predicted one did not come: the first cause that applies.

Knows what is predicted and what the log says; sums nothing.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from webhook.audit.compare.figures import Difference, Kind
from webhook.audit.compare.history import History, Key, Refusal, Write
from webhook.audit.report.figures import Time
from webhook.audit.report.standing import Catalogue, Root, Standing
from webhook.audit.subject import POD_SECURITY
from webhook.policy import SetRecord


class Causes:
    """Explains one (workload, policy) at a time."""

    def __init__(
        self,
        sets: Sequence[SetRecord],
        catalogue: Catalogue,
        predicted: Mapping[Key, Standing],
        history: History,
        max_age: datetime.timedelta,
    ) -> None:
        self._catalogue = catalogue
        self._predicted = predicted
        self._history = history
        self._max_age = max_age
        self._versions = {(policy.id, each.digest): policy.digest for each in sets for policy in each.policies}
        self._places = {(policy.id, each.digest): place for each in sets for place, policy in enumerate(each.policies)}

    def unpredicted(self, key: Key) -> Difference | None:
        """Why a refusal was not predicted; None when it was."""
        standing = self._predicted.get(key)
        if standing is not None and standing.found is not None and standing.found.blocked:
            return None
        refusal = self._history.refusals[key]
        reviews = [each for each in self._about(key, self._history.before) if each.result == "reviewed"]
        last = max((each.time for each in reviews), default=None)
        return self._difference("not predicted", self._why(key, refusal, reviews), key, refusal, before=last)

    def _why(self, key: Key, refusal: Refusal, reviews: Sequence[Write]) -> str:
        root, policy = key
        standing = self._predicted.get(key)
        if not root[3]:
            return "unknown_workload"
        if standing is not None and (
            standing.workload.status == "exempted" or (standing.found is None and standing.exempted)
        ):
            return "exempted"
        if standing is not None and standing.found is None and standing.not_comparable:
            return "not_comparable"
        if not self._history.before.get(root):
            return "new_workload"
        about = self._about(key, self._history.before)
        if not about:
            return "other_scope"
        if max(about, key=lambda each: each.time).result != "reviewed":
            return "blind_before"
        now = self._catalogue.policies.get(policy)
        of_now = [each for each in reviews if now and self._versions.get((policy, each.set_digest)) == now.digest]
        if now is not None and not of_now:
            known = any((policy, each.set_digest) in self._versions for each in reviews)
            return "policy_changed" if known else "blind_before"
        if refusal.time - max(each.time for each in reviews) > self._max_age:
            return "expired_evidence"
        return self._of_reviewed(key, refusal, of_now)

    def _of_reviewed(self, key: Key, refusal: Refusal, reviews: Sequence[Write]) -> str:
        """Its reviews, by the policy as it is now, are there and recent."""
        (cluster, namespace, *_), policy = key
        judged = [each for each in reviews if self._evaluated(policy, each)]
        if reviews and not judged:
            return "not_selected"
        if self._history.edited(cluster, policy, refusal.time):
            return "policy_edited"
        passed = [each for each in judged if (each.time, each.request, policy) not in self._history.found]
        same = [each for each in passed if each.trial and each.trial in refusal.trials]
        if not same:
            return "changed_since"
        # By Pod Security's labels it is enforced at all, so that they were written says nothing.
        seen = max(each.time for each in same)
        labelled = self._history.namespace_written(cluster, namespace, seen, refusal.time)
        return "namespace_changed" if labelled and not policy.startswith(POD_SECURITY) else "same_template"

    def missing(self, key: Key) -> Difference | None:
        """Why a predicted refusal did not come; None when nothing was written that could have been refused."""
        root, policy = key
        other = self._history.others.get(root)
        writes = self._about(key, self._history.after)
        if policy.startswith(POD_SECURITY):
            # Enforcement refuses pods; what makes them is only warned of.
            writes = [each for each in writes if each.combination[2] == "pods"]
        gone = [each for each in self._history.after.get(root, ()) if each.combination[4] == "DELETE"]
        if not writes:
            if other is not None:
                return self._difference("did not come", "other_denial_first", key, other)
            return self._difference("did not come", "deleted", key, gone[-1]) if gone else None
        violating = [each for each in writes if (each.time, each.request, policy) in self._history.found]
        if violating:
            last = violating[-1]
            return self._difference("did not come", self._accepted(key, last.time), key, last)
        latest = max(writes, key=lambda each: each.time)
        cause = "blind_since"
        if latest.result == "reviewed" and (policy, latest.set_digest) in self._catalogue.held:
            cause = "mended" if self._evaluated(policy, latest) else "not_selected"
        return self._difference("did not come", cause, key, latest)

    def _accepted(self, key: Key, time: Time) -> str:
        """Why a write with our finding was accepted."""
        (cluster, namespace, *_), policy = key
        begin = self._history.enforced.get((cluster, namespace, policy))
        if begin is None or begin > time:
            return "not_enforced"
        if self._history.edited(cluster, policy, time):
            return "policy_edited"
        return "namespace_changed" if self._history.namespace_written(cluster, namespace, begin, time) else "accepted"

    def _evaluated(self, policy: str, write: Write) -> bool:
        return write.evaluates(self._places.get((policy, write.set_digest)))

    def _about(self, key: Key, writes: Mapping[Root, Sequence[Write]]) -> list[Write]:
        """Those that the policy looks at; all but deletes where its rules are not known."""
        root, policy = key
        return [
            each
            for each in writes.get(root, ())
            if self._catalogue.about(policy, each.combination)
            or (policy not in self._catalogue.policies and each.combination[4] != "DELETE")
        ]

    def _difference(
        self, kind: Kind, cause: str, key: Key, seen: Refusal | Write, before: Time | None = None
    ) -> Difference:
        (cluster, namespace, name_kind, name, _), policy = key
        standing = self._predicted.get(key)
        if before is None and standing is not None and standing.found is not None:
            before = standing.found.last
        return Difference(
            kind=kind,
            cause=cause,
            policy=policy,
            cluster=cluster,
            namespace=namespace,
            workload=f"{name_kind}/{name}" if name else "",
            time=seen.time,
            audit_id=seen.audit_id,
            message=seen.message if isinstance(seen, Refusal) else "",
            client=seen.client,
            before=before,
        )
