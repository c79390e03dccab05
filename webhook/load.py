"""Policy files → the compiled, validated `PolicySet`, with every problem of every file at once.

A broken policy never keeps the good ones out: its problems are listed beside the set. Files are data: nothing in
them is imported or run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from webhook import manifest, yamlfile
from webhook.cel.share import Shared
from webhook.cel.versions import STORED, Version
from webhook.errors import InvalidInput, Problem
from webhook.manifest.fields import (
    API_VERSIONS,
    BINDING,
    POLICY,
    BindingSpec,
    PolicySpec,
    is_binding,
    is_policy,
    read_binding,
    read_policy,
)
from webhook.native.pod_security import PodSecurityConfig
from webhook.native.pod_security import policies as pod_security_policies
from webhook.policy import Policy
from webhook.policyset import PolicySet
from webhook.state import EMPTY, State, is_list
from webhook.yamlfile import Document

CASES = ".cases.yaml"
"""Files that end so hold a policy's test cases."""

_SHIPPED = Path(__file__).parent / "policies"


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a set of files came to."""

    policies: tuple[Policy, ...]
    """By id."""
    problems: tuple[Problem, ...] = ()
    """What is wrong; a policy that has a problem is not in `policies`."""
    notes: tuple[Problem, ...] = ()
    """What is right but may not be what was meant, such as a policy that nothing binds."""


def shipped() -> tuple[Path, ...]:
    """The folders of the policies that come with wouldblock."""
    return (_SHIPPED,)


def load(
    paths: Sequence[Path],
    *,
    state: State = EMPTY,
    pod_security: PodSecurityConfig | None = PodSecurityConfig(),  # noqa: B008 (frozen)
    enable: Collection[str] = (),
    version: Version = STORED,
) -> PolicySet:
    """The set of these files and folders: Pod Security (unless None), then the others by id.

    `state`, `enable` and `version` are `read`'s. Problems are the set's `broken`. Raises `UserError` only for a
    `pod_security` that cannot be right.
    """
    native, broken = _native(pod_security)
    loaded = read(paths, state=state, enable=enable, reserved={policy.id for policy in native}, version=version)
    return PolicySet((*native, *loaded.policies), broken=(*broken, *loaded.problems))


def read(
    paths: Sequence[Path],
    *,
    state: State = EMPTY,
    enable: Collection[str] = (),
    reserved: Collection[str] = (),
    version: Version = STORED,
) -> Loaded:
    """Reads and compiles the policies of these files and folders. Raises nothing for what is in them.

    `state` is the snapshot whose params enter the digests. `enable` names policies with `wouldblock.dev/default: off`
    that are wanted (`all`: every one); those in a file that is itself named in `paths` are loaded anyway. `reserved`
    are ids that are taken. `version` says which API server has, or is to get, the policies.
    """
    gathered = gather(paths, reserved=reserved, version=version)
    named = {str(path) for path in paths}
    policies: list[Policy] = []
    shared = Shared()
    bound: dict[str, list[BindingSpec]] = {}
    for binding in gathered.bindings.values():
        bound.setdefault(binding.policy, []).append(binding)
    gathered.bindings.clear()
    alone = [name for name in bound if name not in gathered.policies and name not in gathered.unusable]
    # What is built lets go of its file: a thousand policies with all their texts and positions are 20 MB.
    for id in list(gathered.policies):
        spec, bindings = gathered.policies.pop(id), bound.pop(id, [])
        if id in gathered.unusable:
            continue
        if not bindings:
            gathered.note(spec.document, spec.id, "no binding names this policy: on a server it does nothing")
        elif spec.meta.default == "off" and not {spec.id, "all"} & set(enable) and spec.document.file not in named:
            gathered.note(spec.document, spec.id, "off by default: not loaded unless it is asked for")
            continue
        policy, problems = _build(spec, bindings, gathered.objects, state, shared, version)
        gathered.problems.extend(problems)
        if policy is not None and bindings:
            policies.append(policy)
    for binding in (each for name in alone for each in bound[name]):
        gathered.note(binding.document, binding.policy, f"binding {binding.name!r} names a policy that is not here")
    return Loaded(
        policies=tuple(sorted(policies, key=lambda policy: policy.id)),
        problems=tuple(gathered.problems),
        notes=tuple(gathered.notes),
    )


def gather(paths: Sequence[Path], *, reserved: Collection[str] = (), version: Version = STORED) -> Gathered:
    """Reads the files of these paths, but for the cases."""
    gathered = Gathered(reserved, version)
    # A file that is named beside its folder, so that it is loaded although it is off, is there once.
    for path in dict.fromkeys(yamlfile.files(paths)):
        if not path.name.endswith(CASES):
            gathered.add(yamlfile.read(path))
    return gathered


class Gathered:
    """The objects of files by what they are, read and checked, not compiled."""

    def __init__(self, reserved: Collection[str] = (), version: Version = STORED) -> None:
        self.policies: dict[str, PolicySpec] = {}
        self.bindings: dict[str, BindingSpec] = {}
        self.objects: list[Mapping[str, Any]] = []
        """Whatever else there is: a param, perhaps."""
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []
        self.unusable: set[str] = set()
        """Ids of policies that have, or whose bindings have, problems."""
        self._reserved = reserved
        self._version = version

    def add(self, file: yamlfile.File) -> None:
        self.problems.extend(file.problems)
        for document in file.documents:
            for each in _objects(document):
                self._add(each)

    def note(self, document: Document, policy: str, message: str) -> None:
        self.notes.append(Problem(file=document.file, line=document.line, message=message, policy=policy))

    def _add(self, document: Document) -> None:
        value = document.value
        if is_policy(value):
            self._policy(document)
        elif is_binding(value):
            self._binding(document)
        elif not isinstance(value, dict) or not isinstance(value.get("kind"), str):
            self.problems.append(document.problem((), "expected a Kubernetes object: a map with apiVersion and kind"))
        elif value["kind"] in (POLICY, BINDING):
            wrong = f"expected {API_VERSIONS[0]}, found {value.get('apiVersion')!r}"
            self.problems.append(document.problem(("apiVersion",), wrong))
        elif _may_be_param(value):
            self.objects.append(value)

    def _policy(self, document: Document) -> None:
        spec, problems = read_policy(document)
        if spec is None:
            self.problems.extend(problems)
            self.unusable.update(problem.policy for problem in problems)
            return
        first = self.policies.get(spec.id)
        if spec.id in self._reserved:
            problems = (*problems, self._taken(document, spec.id, "a policy of wouldblock itself"))
        elif first is not None and spec.id:
            problems = (*problems, self._taken(document, spec.id, _where(first.document)))
            self.problems.extend(problems)
            return
        if problems:
            self.unusable.add(spec.id)
            self.problems.extend(problems)
            # Its expressions may be wrong as well, and all problems are told at once.
            _, more = _build(spec, (), (), EMPTY, Shared(), self._version)
            told = {(problem.line, problem.path) for problem in problems}
            self.problems.extend(each for each in more if (each.line, each.path) not in told)
        self.policies.setdefault(spec.id, spec)

    def _binding(self, document: Document) -> None:
        spec, problems = read_binding(document)
        if spec is not None:
            first = self.bindings.setdefault(spec.name, spec)
            if first is not spec:
                self.problems.append(self._taken(document, spec.name, _where(first.document)))
            return
        # Without one of its bindings a policy would say less than on a server.
        self.unusable.update(problem.policy for problem in problems)
        self.problems.extend(problems)

    def _taken(self, document: Document, name: str, by: str) -> Problem:
        return document.problem(("metadata", "name"), f"the name {name!r} is taken by {by}", policy=name)


def _build(
    spec: PolicySpec,
    bindings: Sequence[BindingSpec],
    objects: Sequence[Mapping[str, Any]],
    state: State,
    shared: Shared,
    version: Version,
) -> tuple[Policy | None, tuple[Problem, ...]]:
    try:
        return manifest.build(spec, bindings, folder=objects, state=state, shared=shared, version=version)
    except Exception as error:  # a bug of the compiler costs this policy, not the set
        wrong = f"cannot be compiled: {type(error).__name__} inside wouldblock; please report it"
        return None, (spec.document.problem(("spec",), wrong, policy=spec.id),)


def _native(config: PodSecurityConfig | None) -> tuple[tuple[Policy, ...], tuple[Problem, ...]]:
    if config is None:
        return (), ()
    try:
        return pod_security_policies(config), ()
    except InvalidInput as error:
        return (), error.problems


def _objects(document: Document) -> Iterator[Document]:
    """The objects of a document: itself, or the items of a List; nothing for an empty one."""
    value = document.value
    if value is None:
        return
    if is_list(value):
        for index in range(len(value["items"])):
            yield document.part(("items", index))
    else:
        yield document


def _may_be_param(value: Mapping[str, Any]) -> bool:
    meta = value.get("metadata")
    return (
        isinstance(value.get("apiVersion"), str)
        and isinstance(meta, dict)
        and isinstance(meta.get("name"), str)
        and isinstance(meta.get("namespace", ""), str | None)
    )


def _where(document: Document) -> str:
    return f"{document.file}:{document.line}"
