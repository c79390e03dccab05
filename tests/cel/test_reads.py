"""What expressions ask of the objects."""

from __future__ import annotations

import pytest

from webhook.cel.share import Shared
from webhook.cel.unit import Expression, Variable, compile_unit

TEXTS = {
    "true": set(),
    "object == oldObject": {"object", "oldObject"},
    "object.spec.replicas > 1": {"object.spec.replicas"},
    "object.spec.template.spec.containers.all(c, c.name != '')": {"object.spec.template"},
    "has(object.metadata.labels) && has(oldObject.spec)": {"object.metadata.labels", "oldObject.spec"},
    "object.?metadata.?labels.orValue({}).size() == 0": {"object.metadata.labels"},
    "object['metadata'].name == 'x'": {"object"},
    "object.metadata['name'] == 'x'": {"object.metadata"},
    "object.metadata.exists(k, k == 'managedFields')": {"object.metadata"},
    "dyn(object).metadata.name == 'x'": {"object"},
    "[object].all(o, o.metadata.name == 'x')": {"object"},
    "[1].all(object, object == 1)": set(),
    "request.name == object.metadata.name": {"object.metadata.name"},
    "(has(object.a) ? object.a.b : object.c).d": {"object.a", "object.a.b", "object.c"},
    "'x' in object.m && object.l[0].n == object.m[object.k]": {"object.m", "object.l", "object.k"},
}


@pytest.mark.parametrize("text", TEXTS)
def test_paths(text: str) -> None:
    unit = compile_unit([Expression(path="x", text=text)])
    assert {".".join(path) for path in unit.reads} == TEXTS[text]


def test_variables_count_whoever_compiled_them_first() -> None:
    shared = Shared()
    for _ in range(2):
        unit = compile_unit(
            [Expression(path="x", text="variables.one == 1")],
            variables=[
                Variable(name="one", path="v", text="object.a.b"),
                Variable(name="two", path="v", text="object.c"),
            ],
            shared=shared,
        )
        assert {".".join(path) for path in unit.reads} == {"object.a.b", "object.c"}
