"""Generated code: what it looks like, that no text of a policy enters it, that both of its forms agree, and that
nothing an expression may legally hold breaks CPython's limits."""

from __future__ import annotations

import re
import threading
import traceback
from types import ModuleType
from typing import Any

import pytest

from webhook.cel import codegen, direct, emit
from webhook.cel.activation import Activation
from webhook.cel.check import check
from webhook.cel.codegen import Body
from webhook.cel.context import Context
from webhook.cel.emit import COMMON, Module
from webhook.cel.env import policy_env
from webhook.cel.error import Crash
from webhook.cel.facts import analyse
from webhook.cel.fold import fold
from webhook.cel.library import FUNCTIONS
from webhook.cel.parser import parse
from webhook.cel.program import FAULTS, fault, load
from webhook.cel.sure import sure
from webhook.cel.unit import EvalError, Expression, Inputs, compile_unit

GOLDEN = {
    "1 + 2": """\
def e1(S, k1=k1, k2=k2):
    return operators_add_int(k1, k2)
""",
    "object.spec.replicas > 2": """\
def e1(S, k3=k3, k1=k1, k2=k2):
    o1 = S.object
    return (t1 > k3 if (t1 := o1[k1][k2]).__class__ is int else greater(t1, k3))
""",
    "[has(object.spec) && object.spec.paused == true]": """\
def h1(S, k1=k1, k2=k2):
    o1 = S.object
    f3 = None
    while True:
        try:
            if not (k1 in o1 if o1.__class__ is dict else has(o1, k1)):
                t2 = False
                break
        except FAULTS as error:
            f3 = f3 or fault(error)
        try:
            if not (o1[k1][k2] is True):
                t2 = False
                break
        except FAULTS as error:
            f3 = f3 or fault(error)
        if f3 is not None: raise CelError(f3)
        t2 = True
        break
    t1 = [t2]
    return t1

def e1(S, k1=k1, k2=k2, h1=h1):
    o1 = S.object
    try:
        t1 = [((k1 in o1 if o1.__class__ is dict else has(o1, k1)) and (o1[k1][k2] is True))]
    except FAULTS:
        t1 = h1(S)
    return t1
""",
    "object.containers.all(c, has(c.image) && ['a/', 'b/'].exists(r, c.image.startsWith(r)))": """\
def x1(S, k1=k1, k2=k2, k3=k3):
    o1 = S.object
    t1 = o1[k1]
    if t1.__class__ is not list: t1 = elements(t1)
    S.left -= len(t1)
    if S.left < 0: t1 = S.pause(t1)
    t2 = True
    f3 = None
    for c1 in t1:
        try:
            f5 = None
            while True:
                try:
                    if not (k2 in c1 if c1.__class__ is dict else has(c1, k2)):
                        t4 = False
                        break
                except FAULTS as error:
                    f5 = f5 or fault(error)
                try:
                    t6 = k3
                    S.left -= len(t6)
                    if S.left < 0: t6 = S.pause(t6)
                    t7 = False
                    f8 = None
                    for c2 in t6:
                        try:
                            if (t9.startswith(c2) if (t9 := c1[k2]).__class__ is str else strings_starts_with(t9, c2)):
                                t7 = True
                                break
                        except FAULTS as error:
                            f8 = f8 or fault(error)
                    else:
                        if f8 is not None: raise CelError(f8)
                    if not t7:
                        t4 = False
                        break
                except FAULTS as error:
                    f5 = f5 or fault(error)
                if f5 is not None: raise CelError(f5)
                t4 = True
                break
            if not t4:
                t2 = False
                break
        except FAULTS as error:
            f3 = f3 or fault(error)
    else:
        if f3 is not None: raise CelError(f3)
    return t2

def e1(S, k1=k1, k2=k2, k4=k4, x1=x1):
    o1 = S.object
    try:
        t1 = o1[k1]
        t2 = t1 if t1.__class__ is list else elements(t1)
        S.left -= len(t2) * 3
        if S.left < 0: t2 = S.pause(t2)
        for c3 in t2:
            if c3.__class__ is not dict: raise Unsure
            if k2 not in c3: return False
            t3 = c3[k2]
            if t3.__class__ is not str: raise Unsure
            if not t3.startswith(k4): return False
        return True
    except FAULTS:
        return x1(S)
""",
    "object.?a.?b.orValue('') in ['x', 'y']": """\
def e1(S, k2=k2, k1=k1, k3=k3, k4=k4):
    o1 = S.object
    return ((t2 if (t2 := {path}) is not ABSENT else k3) in k4)
""",
}


PATH = (
    "(t1.get(k2, ABSENT) if (t1 := (o1.get(k1, ABSENT) if o1.__class__ is dict else at_step(o1, k1))).__class__ is dict"
    " else ABSENT if t1 is ABSENT else at_step(t1, k2))"
)


def source(text: str, **more: Any) -> str:
    return compile_unit([Expression(path="x", text=text)], **more).source


@pytest.mark.parametrize("text", GOLDEN)
def test_golden_source(text: str) -> None:
    assert source(text) == GOLDEN[text].replace("{path}", PATH)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (codegen, "has(object.spec) && object.spec.replicas > 5 ? 'many' : 'few'"),
        (direct, "object.spec.containers.all(c, has(c.image) && !c.image.endsWith(':latest'))"),
    ],
)
def test_the_example_of_the_module_is_true(module: ModuleType, text: str) -> None:
    shown = (module.__doc__ or "").partition("def e1(")[2]
    made = source(text).partition("def e1(")[2]
    assert "".join(shown.split()) == "".join(made.split())


def test_a_source_does_not_depend_on_what_was_written_before(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [
        *GOLDEN,
        "quantity('1').add(2).isGreaterThan(quantity('3'))",
        "semver('1.0.0').isGreaterThan(object.a) && object.a > 1",
    ]
    made = []
    for order in (texts, texts[::-1]):
        monkeypatch.setattr(emit, "COMMON", {})
        made.append({text: source(text) for text in order})
    assert made[0] == made[1]


def test_the_same_tree_gives_the_same_bytes() -> None:
    text = "object.a.exists(x, x.b == 1 || x.c.all(y, y > 2)) ? [1, 2].map(z, z * 2) : [{'a': 1}.size()]"
    assert source(text) == source(text)


HOSTILE = [
    "'); import os; os.system('true') #",
    '"""+__import__("os")+"""',
    "\\x27\\n\\t{0}{1}%s",
    "\n    return 1\ndef e1(S): return 2\n",
    "k1] = 5; [",
    "\u2028\u2029\x00\x85",
    "{self.module}",
    "‮reversed",
]
POSITIONS = [
    "{}",
    "object[{}]",
    "object[?{}]",
    "{{{}: {}}}",
    "[{}, {}]",
    "{} in object",
    "object in [{}]",
    "object.all(x, x == {})",
    "object.exists(x, x.startsWith({}))",
    "object.replace({}, {})",
    "{}.format([{}])",
    "object.?a[{}].orValue({})",
    "object.matches({})",
    "quantity({})",
    "true ? {} : {}",
    "object.spec.contains({}) || object == {}",
    "type({}) == string",
]
_NAMES = re.compile(r"(?:S|[A-Za-z_]\w*)\Z")


def literal(text: str) -> str:
    """A CEL string literal of any text."""
    return '"' + "".join(f"\\U{ord(character):08X}" for character in text) + '"'


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_text_enters_the_source(position: str, hostile: str) -> None:
    from webhook.cel.unit import CompileErrors

    harmless, made = (
        position.replace("{}", literal(text)).replace("{{", "{").replace("}}", "}") for text in ("abc", hostile)
    )
    try:
        wanted = source(harmless)
        found = source(made)
    except CompileErrors:
        return  # a pattern, quantity or format that is none
    assert found == wanted


@pytest.mark.parametrize("metered", [False, True])
def test_no_local_has_the_name_of_something_in_the_module(metered: bool) -> None:
    """A function that assigns to the name of another one can no longer call it; a parameter that is by default what it
    is named after hides nothing."""
    texts = [
        "object.a.exists_one(x, x.b) && !object.c",
        "object.a.exists_one(x, x.b || object.d) && object.l.filter(x, x.d).size() > 1",
        "[object.a && object.b] == [true] && object.c.map(x, x.d, x.e) == []",
        "object.nope + {object.b: 1}['a'] == 1 || object.?a.optMap(x, x.b || x.c).orValue(object.d)",
        "[1, 2].transformMapEntry(i, v, {v: object.a}) == {} && object.l.sortBy(x, x.y) == []",
    ]
    expressions = [Expression(path=f"e{at}", text=text) for at, text in enumerate(texts * 3)]
    unit = compile_unit(expressions, metered=metered)
    generated = unit._functions
    assert len(generated) > len(texts)
    for each in generated.values():
        code, defaults = each.__code__, each.__defaults__ or ()
        bound = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
        locals = set(code.co_varnames) - set(bound)
        assert not locals & (COMMON.keys() | generated.keys()), code.co_name
        assert not [name for name in (*code.co_names, *locals) if re.fullmatch("[kehxvq][0-9]+", name)], code.co_name


def test_no_name_enters_the_source() -> None:
    hostile = "a`b"
    text = (
        "object.zyx_field.exists(zyx_local, has(zyx_local.zyx_other) && zyx_local.`zyx-quoted/x` == variables.zyx_var)"
    )
    from webhook.cel.unit import Variable

    unit = compile_unit(
        [Expression(path=f"spec.{hostile}", text=text)],
        variables=[Variable(name="zyx_var", path="v", text="'zyx' + object.zyx")],
    )
    assert "zyx" not in unit.source
    assert hostile not in unit.source


def exact(text: str, object: Any) -> Any:
    """The expression by its exact form alone."""
    context = Context(Module(), FUNCTIONS)
    env = policy_env(FUNCTIONS, params=False, authorizer=True, variables={})
    checked = check(parse(text), env)
    folded = fold(checked)
    checked, _ = sure(checked, env)
    body = Body(context, checked, analyse(checked, folded), {}, exact=True)
    body.finish("e", body.value(checked.tree))
    call = load(context.module.functions(), context.module.namespace)["e"]
    try:
        return call(Activation(Inputs(object=object)))
    except FAULTS as error:
        return EvalError(fault(error))
    except Crash as error:
        return EvalError(error.text)


@pytest.mark.corpus
def test_the_fast_and_the_exact_form_agree(corpora: Any, evaluate: Any) -> None:
    import json

    objects = {}
    folder = corpora / "k8s-cel"
    for line in (folder / "differential-objects.jsonl").read_text().splitlines():
        held = json.loads(line)
        objects[held["id"]] = held["object"]
    compared = 0
    for line in (folder / "differential.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row.keys() & {"vars", "params", "ns", "return", "delete", "compile_errors"} or "request" in row["expr"]:
            continue
        if "&&" not in row["expr"] and "||" not in row["expr"] and "(" not in row["expr"]:
            continue
        fast = evaluate(row["expr"], object=objects[row["obj"]])
        if isinstance(fast, list) or "namespaceObject" in row["expr"] or "oldObject" in row["expr"]:
            continue
        slow = exact(row["expr"], objects[row["obj"]])
        assert type(fast) is type(slow), row["expr"]
        if isinstance(fast, bool | int | str | float | EvalError):
            assert fast == slow or fast != fast, row["expr"]
        compared += 1
    assert compared > 300


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(" * 249 + "1" + ")" * 249, 1),
        ("!(" * 248 + "object.yes" + ")" * 248, True),
        ("(object.yes && " * 249 + "object.yes" + ")" * 249, True),
        ("(object.no || " * 249 + "object.nope" + ")" * 249, EvalError("no such key: nope")),
        ("(object.yes ? " * 200 + "1" + " : 2)" * 200, 1),
        ("object.no ? 1 : " * 240 + "2", 2),
        ("[1].all(a, " * 100 + "object.yes" + ")" * 100, True),
        ("[1].exists(a, object.nope || " * 60 + "object.yes" + ")" * 60, True),
        ("object.n" + " + 1" * 249, 250),
        ("size([" * 100 + "1" + "])" * 100, 1),
        ("optional.of(" * 100 + "1" + ").optMap(x, x)" * 100 + ".hasValue()", True),
        (" || ".join(["object.nope"] * 2_000 + ["object.yes"]), True),
        (" && ".join(["object.yes"] * 5_000), True),
        (" || ".join(["[1].exists(x, object.nope)"] * 200), EvalError("no such key: nope")),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_deep_and_long(text: str, value: Any, evaluate: Any) -> None:
    assert evaluate(text, object={"yes": True, "no": False, "n": 1}) == value


def test_a_traceback_shows_the_generated_line() -> None:
    unit = compile_unit([Expression(path="x", text="object.a.seen_by_nobody_else")])
    with pytest.raises(KeyError) as raised:
        unit.calls[0](Activation(Inputs(object={"a": {}})))
    shown = "".join(traceback.format_exception(raised.value))
    assert "return o1[k1][k2]" in shown and 'File "<cel ' in shown


def test_what_differs_in_constants_alone_shares_its_code() -> None:
    texts = [f"object.a.exists(x, has(x.b) && x.b.startsWith('{each}'))" for each in ("one", "two", "three")]
    units = [compile_unit([Expression(path="x", text=text)]) for text in texts]
    assert len({unit.calls[0].__code__ for unit in units}) == 1
    for each in ("one", "two", "none"):
        found = [unit.start(Inputs(object={"a": [{"b": each}]})).value(0) for unit in units]
        assert found == [each == other for other in ("one", "two", "three")]
    errors = [compile_unit([Expression(path="x", text=f"object.{key}.z")]) for key in ("first", "second")]
    assert errors[0].calls[0].__code__ is errors[1].calls[0].__code__
    assert [unit.start(Inputs(object={})).value(0) for unit in errors] == [
        EvalError("no such key: first"),
        EvalError("no such key: second"),
    ]


def test_one_unit_from_many_threads() -> None:
    unit = compile_unit([Expression(path="x", text="object.l.map(x, x + object.n).sum()")])
    wrong: list[int] = []

    def work(n: int) -> None:
        for _ in range(200):
            wrong.extend({unit.start(Inputs(object={"l": [1, 2, 3], "n": n})).value(0)} - {6 + 3 * n})

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
