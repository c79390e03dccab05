"""A policy's test cases: `<id>.cases.yaml` beside `<id>.yaml` → requests with what is expected of them.

The form is described in `policies/README.md`. Decides nothing itself: a case runs the policy that serving runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from webhook import yamlfile
from webhook.cel.share import Shared
from webhook.check.reviews import requests_of
from webhook.errors import InvalidInput, Problem, WouldblockError
from webhook.load import CASES, gather
from webhook.manifest import build
from webhook.manifest.fields import PolicySpec
from webhook.policy import Context, Policy, Verdict
from webhook.policyset import PolicySet
from webhook.review import NULL, Operation, Request, UserInfo
from webhook.state import State, snapshot

USER = UserInfo(username="alice", groups=("dev", "system:authenticated"))
"""Who writes, unless a case says otherwise."""


class Expected(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One finding."""

    message: str
    index: int = 0
    error: bool = False


class Verdicts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a case expects: these findings in this order and exactly these audit annotations."""

    findings: tuple[Expected, ...] = ()
    annotations: dict[str, str] = {}


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One request. Objects are written as merge patches (RFC 7386) of an object of the file."""

    name: str
    object: str
    """Key in the file's `objects`."""
    patch: dict[str, Any] = {}
    old_patch: dict[str, Any] | None = None
    """Makes it an UPDATE: what the object was before, as a patch of the same object."""
    operation: Literal["CREATE", "UPDATE", "DELETE"] | None = None
    subresource: str = ""
    user: UserInfo = USER
    params: dict[str, Any] = {}
    """Patch of the policy's params object, for this case alone."""
    namespace_labels: dict[str, str] | None = None
    """Labels of the object's namespace; left out: the namespace is not known."""
    expect: Literal["pass", "none"] | Verdicts
    """`none`: matched neither by policy, binding nor match conditions."""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    objects: dict[str, dict[str, Any]]
    cases: tuple[Case, ...]
    equal: dict[str, str] = {}


class CaseFile(msgspec.Struct, frozen=True, kw_only=True):
    """The cases of one policy."""

    policy: Path
    objects: Mapping[str, Mapping[str, Any]]
    cases: tuple[Case, ...]
    equal: Mapping[str, str] = {}
    """Changes that no case can notice, as the mutation check names them (`path: what`), and why."""

    def object_of(self, case: Case) -> dict[str, Any]:
        """The object as it is written."""
        patched: dict[str, Any] = merge(self.objects[case.object], case.patch)
        return patched

    def old_object_of(self, case: Case) -> dict[str, Any] | None:
        """What is stored before: of an UPDATE as its patch says, of a DELETE the object itself; else None."""
        if case.old_patch is not None:
            patched: dict[str, Any] = merge(self.objects[case.object], case.old_patch)
            return patched
        return self.object_of(case) if operation_of(case) != "CREATE" else None

    def params_of(self, case: Case) -> list[dict[str, Any]]:
        """The policy file's params objects as they are in this case."""
        return [merge(each, case.params) for each in gather([self.policy]).objects]


def find(paths: list[Path]) -> Iterator[Path]:
    """The case files that belong to these files and folders."""
    for path in paths:
        if path.is_dir():
            yield from (each for each in yamlfile.files([path]) if each.name.endswith(CASES))
        elif path.name.endswith(CASES):
            yield path
        elif (beside := path.with_name(path.stem + CASES)).exists():
            yield beside


def is_native(path: Path) -> bool:
    """Whether a case file belongs to a policy written in Python, whose cases have a form of their own."""
    policy = path.with_name(path.name.removesuffix(CASES) + ".yaml")
    documents = yamlfile.read(policy).documents if policy.exists() else ()
    return any(isinstance(each.value, dict) and each.value.get("kind") == "NativePolicy" for each in documents)


def read(path: Path) -> CaseFile:
    """A case file. Raises `InvalidInput`."""
    file = yamlfile.read(path)
    if file.problems:
        raise InvalidInput(file.problems)
    value = file.documents[0].value if file.documents else None
    try:
        content = msgspec.convert(value, _File)
    except msgspec.ValidationError as error:
        raise InvalidInput([Problem(file=file.name, message=f"not a case file: {error}")]) from None
    wrong = [
        Problem(file=file.name, message=f"case {case.name!r}: there is no object {case.object!r} in this file")
        for case in content.cases
        if case.object not in content.objects
    ]
    if wrong:
        raise InvalidInput(wrong)
    policy = path.with_name(path.name.removesuffix(CASES) + ".yaml")
    return CaseFile(policy=policy, objects=content.objects, cases=content.cases, equal=content.equal)


def operation_of(case: Case) -> Operation:
    return case.operation or ("CREATE" if case.old_patch is None else "UPDATE")


def request_of(file: CaseFile, case: Case) -> Request:
    """The request that the API server would send, without its defaults."""
    operation = operation_of(case)
    new, old = file.object_of(case), file.old_object_of(case)
    request = next(requests_of(new, where=f"{file.policy.stem}/{case.name}"))
    return msgspec.structs.replace(
        request,
        operation=operation,
        object=NULL if operation == "DELETE" else request.object,
        old_object=NULL if old is None else msgspec.Raw(msgspec.json.encode(old)),
        sub_resource=case.subresource,
        request_sub_resource=case.subresource,
        user_info=case.user,
    )


class Bench:
    """The cases of one file, ready to be run against its policy or a changed one."""

    def __init__(self, file: CaseFile) -> None:
        """Raises `InvalidInput` for a policy file that cannot be read."""
        gathered = gather([file.policy])
        if gathered.problems:
            raise InvalidInput(gathered.problems)
        (self.spec,) = gathered.policies.values()
        self._bindings = list(gathered.bindings.values())
        self._shared = Shared()
        self._objects = list(gathered.objects)
        self._runs = [_Run(file, case, self._objects) for case in file.cases]

    def results(self) -> Iterator[tuple[Case, str]]:
        """Each case, and how its outcome differs from what it expects: empty when it does not.

        Raises `InvalidInput` for a policy that does not compile.
        """
        policies = self._policies(self.spec)
        for run in self._runs:
            try:
                yield run.case, run.mismatch(policies(run))
            except InvalidInput:
                raise
            except WouldblockError as error:
                yield run.case, str(error)

    def notices(self, spec: PolicySpec) -> bool:
        """Whether a case fails with this policy in place of the file's own; or it does not even compile."""
        policies = self._policies(spec)
        for at, run in enumerate(self._runs):
            try:
                wrong = run.mismatch(policies(run))
            except WouldblockError:
                wrong = "no verdict"
            if wrong:
                # What noticed one change notices the next one often, too.
                self._runs.insert(0, self._runs.pop(at))
                return True
        return False

    def _policies(self, spec: PolicySpec) -> Callable[[_Run], Policy]:
        """The policy with a case's own params; compiled once for all that have the file's."""
        made: dict[bytes, Policy] = {}

        def policy(run: _Run) -> Policy:
            key = msgspec.json.encode(run.case.params)
            if key not in made:
                found, problems = build(spec, self._bindings, folder=run.params, shared=self._shared)
                if found is None:
                    raise InvalidInput(problems)
                made[key] = found
            return made[key]

        return policy


class _Run:
    """One case, with what it sends made once."""

    def __init__(self, file: CaseFile, case: Case, objects: Sequence[Mapping[str, Any]]) -> None:
        self.case = case
        self.params = [merge(each, case.params) for each in objects]
        self._request = request_of(file, case)
        self._state = state_of(case, self._request)

    def verdict(self, policy: Policy) -> Verdict | None:
        """What the policy says; raises what it raises."""
        if not PolicySet([policy]).candidates(self._request):
            return None
        deadline = time.monotonic() + 60
        return policy.run(Context(self._request, state=self._state, clock=time.monotonic, deadline=deadline))

    def mismatch(self, policy: Policy) -> str:
        case, verdict = self.case, self.verdict(policy)
        if case.expect == "none" or verdict is None:
            found = "a verdict" if verdict is not None else "none (not the policy's business)"
            return "" if (case.expect == "none") == (verdict is None) else f"expected {case.expect}, found {found}"
        expected = Verdicts() if case.expect == "pass" else case.expect
        actual = Verdicts(
            findings=tuple(
                Expected(message=each.message, index=each.index, error=each.error) for each in verdict.findings
            ),
            annotations=dict(verdict.annotations),
        )
        return "" if actual == expected else f"expected {_shown(expected)}, found {_shown(actual)}"


def mismatch(file: CaseFile, case: Case) -> str:
    """How one case's outcome differs from what it expects; empty when it does not."""
    ((_, wrong),) = Bench(msgspec.structs.replace(file, cases=(case,))).results()
    return wrong


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: maps are merged, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def state_of(case: Case, request: Request) -> State:
    if case.namespace_labels is None:
        return snapshot([], taken_at=0.0)
    labels = {"kubernetes.io/metadata.name": request.namespace, **case.namespace_labels}
    meta = {"name": request.namespace, "labels": labels}
    return snapshot([{"apiVersion": "v1", "kind": "Namespace", "metadata": meta}], taken_at=0.0)


def _shown(verdict: Verdicts) -> str:
    return msgspec.json.encode(verdict).decode()
