"""Decisions as straight Python, for as long as nothing goes wrong.

An expression that decides, or runs over lists, is written twice, as pure ones are (`codegen.py`): exactly, with every
operator that absorbs errors, and directly: `&&`, `||`, `!`, `?:`, `all` and `exists` become tests that leave the
function, or the turn of a loop, as soon as they decide; what is selected once is kept, for other expressions too
(`places.py`), and so is what is known of its class. Whatever raises, and every value of an unusual class, is for the
exact form. That is sound: where no error was met none is to be absorbed, and what was not evaluated is what the server
would not have evaluated either.

`object.spec.containers.all(c, has(c.image) && !c.image.endsWith(':latest'))` becomes

    def e1(S, k1=k1, k2=k2, k3=k3, k4=k4, x1=x1):
        o1 = S.object
        try:
            t1 = o1[k1]
            t2 = t1[k2]
            t3 = t2 if t2.__class__ is list else elements(t2)
            S.left -= len(t3)
            if S.left < 0: t3 = S.pause(t3)
            for c2 in t3:
                if c2.__class__ is not dict: raise Unsure
                if k3 not in c2: return False
                t4 = c2[k3]
                if t4.__class__ is not str: raise Unsure
                if t4.endswith(k4): return False
            return True
        except FAULTS:
            return x1(S)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final

from webhook.cel import calls, runtime
from webhook.cel.check import LOCAL, Checked
from webhook.cel.codegen import Body, generate, name_of
from webhook.cel.context import ROOTS, Context
from webhook.cel.env import VARIABLES
from webhook.cel.facts import NOT_CONSTANT, Facts, operands
from webhook.cel.needles import needles_of
from webhook.cel.places import RUNS, SEARCHED, joined, kept_map, kept_range, kept_run, way_to
from webhook.cel.shapes import NOT, is_collection, is_quantifier, looks_up, prefix_of, prefix_turns, run_of
from webhook.cel.tree import Call, Conditional, Fold, Has, Ident, Index, Logic, Node, Select

_NOT_STRICT: Final = (NOT, "or", "orValue", "hasValue")
"""Calls that are decisions, need not evaluate all their operands, or are the end of an optional path, on which no
optional is made."""
_BLOCKS: Final = 12
"""Nesting beyond which a part moves to a function of its own: CPython allows 20 loops in each other."""


def has_direct(checked: Checked, facts: dict[int, Facts]) -> bool:
    """Whether an expression has a direct form: it runs over lists, or is a decision whose exact form absorbs errors."""
    tree = checked.tree
    if facts[tree.id].crashes:
        return False
    return _loops(checked, facts, tree) or (checked.type(tree).kind == "bool" and _decides(checked, facts, tree))


def _loops(checked: Checked, facts: dict[int, Facts], node: Node) -> bool:
    if facts[node.id].constant is not NOT_CONSTANT:
        return False
    plain = isinstance(node, Fold) and (is_quantifier(node) or is_collection(node))
    return plain or any(_loops(checked, facts, each) for each in operands(node, checked))


def _decides(checked: Checked, facts: dict[int, Facts], node: Node) -> bool:
    if facts[node.id].constant is not NOT_CONSTANT:
        return False
    match node:
        case Logic():
            return facts[node.id].absorbs
        case Conditional() | Call(function="!_"):
            return any(_decides(checked, facts, each) for each in operands(node, checked))
    return False


def generate_direct(context: Context, checked: Checked, facts: dict[int, Facts], prefix: str) -> str:
    """Writes the functions of one expression, direct and exact, into the module; returns the name of the first."""
    name = context.module.name(prefix)
    exact = generate(context, checked, facts, "x", exact=True)
    form = _Direct(context, checked, facts, {})
    form.body.out.indent = 2
    result = "True"
    if checked.type(checked.tree).kind == "bool":
        form.test(checked.tree, True, "return False")
    else:
        result = form.atom(checked.tree)
    head = [*form.body.opening(name), "    try:"]
    tail = [f"        return {result}", "    except FAULTS:", f"        return {exact}(S)"]
    context.module.function([*head, *form.body.out.lines, *tail])
    return name


class _Direct:
    """One function. Texts of values are names: of locals, constants and what was put aside."""

    def __init__(
        self,
        context: Context,
        checked: Checked,
        facts: dict[int, Facts],
        scope: dict[str, str],
        *,
        looped: bool = False,
    ) -> None:
        """`looped`: it is called by a loop."""
        self.body = Body(context, checked, facts, scope, exact=False)
        self.checked = checked
        self.facts = facts
        self._kept: dict[str, str] = {}
        """Expressions → names that hold them here."""
        self._classes: dict[str, str] = {}
        """Names → what their class is for certain: `dict` (or a kind of it), `list`, `str`, `int`…"""
        self._counted = False
        """Whether a loop around counts the turns of those that are none in Python."""
        self._looped = looped

    # -- decisions: statements that run `leave` unless the node is `want`

    def test(self, node: Node, want: bool, leave: str) -> None:
        if self.facts[node.id].constant is NOT_CONSTANT:
            if isinstance(node, Call) and node.function == NOT:
                self.test(operands(node, self.checked)[0], not want, leave)
                return
            if isinstance(node, Logic):
                self._chain(node.terms, want, leave, every=node.is_and == want)
                return
            if isinstance(node, Conditional) and self.body.blocks < _BLOCKS:
                condition = self.condition(node.condition, True)
                for header, branch in ((f"if {condition}:", node.then), ("else:", node.otherwise)):
                    with self._inside(header):
                        self.test(branch, want, leave)
                return
            if isinstance(node, Fold) and is_quantifier(node) and self._loop(node, want, leave):
                return
        self._leaf(node, want, leave)

    def _leaf(self, node: Node, want: bool, leave: str) -> None:
        self.body.out.line(f"if {self.condition(node, not want)}: {leave}")

    def _chain(self, terms: tuple[Node, ...], want: bool, leave: str, *, every: bool) -> None:
        """`every`: each term has to be `want`; else one is enough, and the last one decides if no other did."""
        if every:
            for term in terms:
                self.test(term, want, leave)
            return
        if self.body.blocks + len(terms) > _BLOCKS:
            found = self._outlined(terms, want)
            self.body.out.line(f"if {_negated(found)}: {leave}")
            return
        with self._nest():
            for term in terms[:-1]:
                self._open(f"if {self.condition(term, not want)}:")
            self.test(terms[-1], want, leave)

    def _loop(self, node: Fold, want: bool, leave: str) -> bool:
        """`all` and `exists`; whether it could be written here."""
        predicate = node.predicate
        assert predicate is not None  # noqa: S101 - quantifiers have one
        prefix = prefix_of(self.checked, self.facts, node)
        if prefix is not None:
            self._by_prefix(*prefix, want == (node.macro == "exists"), leave)
            return True
        goes_on = (node.macro == "all") == want  # each element has to be as wanted
        if self.body.blocks >= _BLOCKS or (goes_on and not leave.startswith("return")):
            return False
        if goes_on and self._run(node, want, leave):
            return True
        with self._turns(node):
            if goes_on:
                self.test(predicate, want, leave)
            else:
                self.test(predicate, not want, "break")
        if not goes_on:
            self.body.out.line(f"else: {leave}")
        return True

    def _run(self, node: Fold, want: bool, leave: str) -> bool:
        """One loop over nothing but what is asked for, wherever that is in the range's elements, if it has a place."""
        run = None if self._looped or self._counted else run_of(self.checked, self.facts, node)
        if run is None:
            return False
        turns = self._turns_of(node), self._turns_of(run.loop)
        needles = needles_of(self.checked, self.facts, run.terms[0], run.loop.variable, want)
        shape = run.fields, run.guards, run.field
        kept = self._placed(node.range, kept_run, shape, *turns, after=SEARCHED if needles else RUNS)
        if kept is None:
            return False
        out = self.body.out
        over, count, text = out.temporary(), out.temporary(), out.temporary()
        out.line(f"{over}, {count}, {text} = {kept}")
        out.line(f"S.left -= {count}")
        out.line(f"if S.left < 0: {over} = S.pause({over})")
        if needles:
            out.line(f"if {text} is None: {text} = {self.body.module.helper(joined)}({kept})")
        scope = dict(self.body.scope)
        found = " or ".join([f"{self.body.module.constant(needle)} in {text}" for needle in needles])
        with (
            self._inside(f"if {found}:") if needles else nullcontext(),
            self._each(self.body.local(run.loop.variable), over),
        ):
            self._chain(run.terms, want, leave, every=len(run.terms) == 1)
        self.body.scope = scope
        return True

    def _turns_of(self, node: Fold) -> int:
        """For each element, those of loops that are none in Python included."""
        parts = (node.predicate, node.body)
        return 1 + sum(prefix_turns(self.checked, self.facts, part) for part in parts if part is not None)

    @contextmanager
    def _turns(self, node: Fold) -> Iterator[None]:
        """The body of a loop over the range."""
        turns = self._turns_of(node)
        own_keys = looks_up(node)
        over = None if self._looped or self._counted else self._placed(node.range, kept_range, turns)
        if over is None:
            holder, over = self._counted_range(node, turns)
        else:
            holder = self._holder(node.range) if own_keys else ""
        scope = dict(self.body.scope)
        element = self.body.local(node.variable)
        if own_keys and self._is_map(node.range):
            self._of_class(holder, "dict")
            self._classes[element] = "str"
        with self._each(element, over):
            yield
        self.body.scope = scope

    @contextmanager
    def _each(self, element: str, over: str) -> Iterator[None]:
        with self._inside(f"for {element} in {over}:"):
            self._counted = True
            yield

    def _counted_range(self, node: Fold, turns: int) -> tuple[str, str]:
        """What a loop runs over: its value, and that as a list."""
        out = self.body.out
        values = self.atom(node.range)
        over = out.temporary()
        sure = self._classes.get(values) == "list" or self.checked.type(node.range).kind == "list"
        elements = self.body.module.helper(runtime.elements)
        out.line(f"{over} = {values}" + ("" if sure else f" if {values}.__class__ is list else {elements}({values})"))
        out.line(f"S.left -= len({over})" + (f" * {turns}" if turns > 1 else ""))
        out.line(f"if S.left < 0: {over} = S.pause({over})")
        return values, over

    def _by_prefix(self, method: str, target: Node, texts: tuple[str, ...], want: bool, leave: str) -> None:
        """`want` the text to begin, or end, with one of them."""
        text = self._of_class(self.atom(target), "str")
        if not self._counted:
            self.body.out.line(f"S.left -= {len(texts)}")
            self.body.out.line("if S.left < 0: S.pause(())")
        self.body.out.line(f"if {'not ' if want else ''}{text}.{method}({self.body.module.constant(texts)}): {leave}")

    # -- conditions: Python bools, written after the statements that they need

    def condition(self, node: Node, want: bool) -> str:
        """Whether the node is `want`."""
        facts = self.facts[node.id]
        if facts.constant is NOT_CONSTANT:
            if isinstance(node, Call) and node.function == NOT:
                return self.condition(operands(node, self.checked)[0], not want)
            if isinstance(node, Has) and self._is_map(node.operand) and node.id not in self.checked.raw:
                holder = self._of_class(self._holder(node.operand), "dict")
                return f"{self.body.constant(node.field)} {'in' if want else 'not in'} {holder}"
            if isinstance(node, Logic | Conditional) or (isinstance(node, Fold) and is_quantifier(node)):
                found = self._outlined((node,), True)
                return found if want else _negated(found)
        if facts.constant is not NOT_CONSTANT or not isinstance(node, Call):
            text = self.atom(node)
        elif node.function not in _NOT_STRICT:
            text = self._call(node)
        else:
            text = self.body.pure(node) if facts.pure else self.atom(node)
        found = self.body.as_bool(node, text)
        return found if want else _negated(found)

    def _is_map(self, node: Node) -> bool:
        type = self.checked.type(node)
        return type.kind in ("dyn", "map", "object") and type != VARIABLES

    def _outlined(self, terms: tuple[Node, ...], want: bool) -> str:
        """A call of a new function that says whether one of the terms is `want`."""
        looped = self._looped or self._counted
        form = _Direct(self.body.context, self.checked, self.facts, dict(self.body.scope), looped=looped)
        for term in terms[:-1]:
            form.test(term, not want, f"return {want}")
        form.test(terms[-1], want, f"return {not want}")
        name = self.body.module.name("q")
        self.body.module.function([*form.body.opening(name), *form.body.out.lines, f"    return {want}"])
        for used in form.body.used:
            self.body.use(used)
        return f"{name}({', '.join(['S', *form.body.used])})"

    # -- values: names

    def atom(self, node: Node) -> str:
        """A name that holds the node's value, or a constant's."""
        constant = self.facts[node.id].constant
        if constant is not NOT_CONSTANT:
            return self.body.constant(constant)
        resolved = self.checked.names.get(node.id)
        plain = resolved is None and node.id not in self.checked.raw
        if plain and isinstance(node, Select) and not node.optional:
            type = self.checked.type(node.operand)
            if type == VARIABLES:
                return self._keep(f"variables {node.field}", self.body.variable(node.field))
            if type.kind != "optional":
                return self._selected(node.operand, self.body.constant(node.field))
        if plain and isinstance(node, Index) and not node.optional and self._asked_by_text(node):
            return self._selected(node.operand, self.atom(node.key))
        if resolved is None and isinstance(node, Call) and node.function not in _NOT_STRICT:
            return self._hold(self._call(node))
        if self.facts[node.id].pure:
            text = self.body.pure(node)
            return text if text.isidentifier() else self._hold(text)
        if self.body.blocks < _BLOCKS:
            if isinstance(node, Fold) and is_collection(node):
                return self._collection(node)
            if isinstance(node, Conditional):
                return self._choice(node)
        if isinstance(node, Logic) or (isinstance(node, Call) and node.function == NOT):
            return self._hold(self.condition(node, True))
        return self._hold(self.body.value(node))

    def _collection(self, node: Fold) -> str:
        """`filter` and `map`."""
        result = self.body.out.temporary()
        self.body.out.line(f"{result} = []")
        with self._turns(node):
            if node.predicate is not None:
                self.test(node.predicate, True, "continue")
            kept = self.body.scope[node.variable] if node.body is None else self.atom(node.body)
            self.body.out.line(f"{result}.append({kept})")
        self._classes[result] = "list"
        return result

    def _choice(self, node: Conditional) -> str:
        result = self.body.out.temporary()
        condition = self.condition(node.condition, True)
        for header, branch in ((f"if {condition}:", node.then), ("else:", node.otherwise)):
            with self._inside(header):
                self.body.out.line(f"{result} = {self.atom(branch)}")
        return result

    def _selected(self, operand: Node, key: str) -> str:
        holder = self.body.subscripted(self._holder(operand))
        found = self._keep(f"{holder}[{key}]", f"{holder}[{key}]")
        self._classes.setdefault(holder, "dict")  # nothing else has keys that are strings
        return found

    def _holder(self, node: Node) -> str:
        """A name that holds the node's value, if that is a map."""
        name = self._known(node)
        if name is not None and self._classes.get(name) == "dict":
            return name
        name = self._placed(node, kept_map) if self.checked.type(node).kind == "dyn" else None
        if name is None:
            return self.atom(node)
        self._classes[name] = "dict"
        return name

    def _known(self, node: Node) -> str | None:
        """A name that holds the node's value already."""
        if isinstance(node, Ident):
            return self.body.roots.get(ROOTS.get(self.checked.names.get(node.id, ""), ""))
        if not isinstance(node, Select) or node.id in self.checked.names or node.id in self.checked.raw:
            return None
        holder = self._known(node.operand)
        return None if holder is None else self._kept.get(f"{holder}[{self.body.constant(node.field)}]")

    def _placed(self, node: Node, keep: Callable[..., Any], *details: Any, after: int = 1) -> str | None:
        """A name that holds the node's value as `keep` keeps it, `after` so many who do without; None: it has no
        place."""
        places = self.body.context.places
        way = None if places is None else way_to(self.checked, node, self.body.context.variables)
        if places is None or way is None:
            return None
        number = places.number((keep.__name__, *details, *way), after)
        if number is None:
            return None
        key = f"{keep.__name__} {number}"
        if key not in self._kept:
            if isinstance(node, Select) and len(way) == 1:
                value = self.body.variable(node.field, "S.memo")
            else:
                value = f"S.{ROOTS[way[0]]}" + "".join(f"[{self.body.constant(field)}]" for field in way[1:])
            self._kept[key] = name = self._hold(f"{self.body.head('places')}[{number}]")
            more = [str(each) if isinstance(each, int) else self.body.module.constant(each) for each in details]
            call = f"{self.body.module.helper(keep)}({', '.join(['S', str(number), value, *more])})"
            self.body.out.line(f"if {name} is None: {name} = {call}")
        return self._kept[key]

    def _keep(self, key: str, text: str) -> str:
        name = self._kept.get(key)
        if name is None:
            name = self._kept[key] = self._hold(text)
        return name

    def _hold(self, text: str) -> str:
        name = self.body.out.temporary()
        self.body.out.line(f"{name} = {text}")
        return name

    def _call(self, node: Call) -> str:
        asked = calls.type_test(self.body, node)
        if asked is not None:
            return asked[1].format(self.atom(asked[0]))
        arguments = operands(node, self.checked)
        inner = [self.atom(argument) for argument in arguments]
        likely = calls.likely(self.body, node, inner)
        if likely is None:
            if node.function == "@in" and self._is_text(arguments[0]):
                return calls.text_in(self.body, node, inner, self._classes.get(inner[1], ""))
            return calls.call(self.body, node, inner)
        at, cls, text = likely
        self._of_class(inner[at], cls)
        return text

    def _asked_by_text(self, node: Index) -> bool:
        """Whether only a map has what is asked for, or nothing."""
        return self._is_text(node.key) and self.checked.type(node.operand).kind != "optional"

    def _is_text(self, node: Node) -> bool:
        """Whether it is a text for certain."""
        if self.checked.type(node).kind == "string":
            return True
        is_local = self.checked.names.get(node.id) == LOCAL
        return is_local and self._classes.get(self.body.scope[name_of(node)]) == "str"

    def _of_class(self, name: str, cls: str) -> str:
        """The name, after a look at its class."""
        if self._classes.get(name) != cls:
            self.body.out.line(f"if {name}.__class__ is not {cls}: raise Unsure")
            self._classes[name] = cls
        return name

    # -- blocks: what is kept and known in one is gone after it

    @contextmanager
    def _nest(self) -> Iterator[None]:
        """A block into which `_open` leads."""
        before = dict(self._kept), dict(self._classes), self._counted, self.body.blocks, self.body.out.indent
        yield
        self._kept, self._classes, self._counted, self.body.blocks, self.body.out.indent = before

    def _open(self, header: str) -> None:
        self.body.out.line(header)
        self.body.blocks += 1
        self.body.out.indent += 1

    @contextmanager
    def _inside(self, header: str) -> Iterator[None]:
        with self._nest():
            self._open(header)
            yield


def _negated(condition: str) -> str:
    return f"not {condition}" if condition.startswith("(") or condition.isidentifier() else f"not ({condition})"
