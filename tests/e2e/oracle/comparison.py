"""Our answer to a question beside the server's: where they differ, and the smallest expression that shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from msgspec import Raw

from tests.e2e.oracle.expressions import NAMESPACE, REQUEST, Node
from tests.e2e.oracle.process import Oracle
from webhook.cel import builtin
from webhook.cel.tagged import encode
from webhook.cel.tariff import EXCEEDED
from webhook.cel.types import Type
from webhook.cel.unit import CompileErrors, EvalError, Expression, Inputs, Returns, Variable, compile_unit
from webhook.view import WHOLE, view_of

AGREE: Final = ""
REFUSED: Final = "not supported yet"
IN_VARIABLE: Final = "a variable does not compile"
CRASH: Final = "error of a crash"
"""The server's library panicked and was caught: an error on both sides, of which the rest of the text is Go's."""
FOREIGN: Final = "text of a Go library"
PANIC: Final = "the server panics"

_REPEATS: Final = 40
"""How often the server is asked again before a difference counts: Go's maps have no order."""

_FOREIGN: Final = (
    "error parsing regexp: ",
    "Illegal regex: ",
    "URL parse error",
    "IP Address ",
    "network address parse error",
)
"""Beginnings of texts whose rest is a Go library's own."""
_CAUGHT: Final = "internal error: "
_NOWHERE: Final = "-1:0: "
"""What the server writes before a complaint that has no position."""
_ALREADY: Final = "insert failed: key "


class Question(NamedTuple):
    """One expression and what it is evaluated over."""

    expression: Node
    object: str
    """JSON text, as it stands in the corpus: `1.0` stays a double."""
    returns: Returns = "any"
    variables: tuple[tuple[str, str], ...] = ()
    params: Any = None
    declared: bool = False
    """Whether `params` is."""
    measured: bool = True
    """Whether the cost is compared, too."""
    typed: bool = False
    """Whether the server holds an object of a built-in kind in its Go type, as 1.37 does, or as a map, as before."""
    old: str = ""
    """The JSON text of `oldObject`, if it is another than the object."""

    def asked(self) -> str:
        """The question as the oracle reads it."""
        asked: dict[str, Any] = {
            "expression": str(self.expression),
            "return": self.returns,
            "request": REQUEST,
            "namespaceObject": NAMESPACE,
            "untyped": not self.typed,
        }
        if self.variables:
            asked["variables"] = [{"name": name, "expression": text} for name, text in self.variables]
        if self.declared:
            asked["params"] = self.params
        return json.dumps(asked)[:-1] + f', "object": {self.object}, "oldObject": {self.old or self.object}}}'


def ours(question: Question, *, whole: bool = False) -> dict[str, Any]:
    """Our answer, in the oracle's form, with what the expression asks for of the objects (`reads.py`) or with the
    `whole` of them. What Python raises, and no server says, is a `crash`."""
    groups = builtin.GROUPS if question.typed else frozenset[str]()
    try:
        with patch.object(builtin, "GROUPS", groups):
            return _ours(question, whole=whole)
    except Exception as error:
        return {"crash": f"{type(error).__name__}: {error}"}


def _ours(question: Question, *, whole: bool) -> dict[str, Any]:
    expression = Expression(
        path="expression",
        text=str(question.expression),
        returns=question.returns,
        authorizer=question.returns != "string",
    )
    variables = [Variable(name=name, path=f"variables.{name}", text=text) for name, text in question.variables]
    try:
        forms = [
            compile_unit([expression], variables=variables, params=question.declared, metered=metered)
            for metered in ((False, True) if question.measured else (False,))
        ]
    except CompileErrors as failed:
        return {
            "compile_errors": [
                f"{error.line}:{error.column}: {error.message}" if error.line else error.message
                for error in failed.errors
                if error.path == "expression"
            ]
            or [IN_VARIABLE]
        }
    view = WHOLE if whole else view_of(forms[0].reads)

    def shown(text: str) -> Any:
        return parsed(json.dumps(view.decode(Raw(text.encode()))))

    inputs = Inputs(
        object=shown(question.object),
        old_object=shown(question.old or question.object),
        request=REQUEST,
        namespace_object=NAMESPACE,
        params=question.params,
    )
    found = _answer(forms[0].start(inputs).value(0))
    for metered in forms[1:]:
        value, cost = metered.start(inputs).measure(0)
        counted = _answer(value)
        if EXCEEDED in counted.get("error", ""):
            found = counted  # what may cost that much is never left to the form that does not count
        found |= {"cost": cost} if canonical(counted) == canonical(found) else {"metered": counted}
    return found


def _answer(value: Any) -> dict[str, Any]:
    return {"error": value.text} if isinstance(value, EvalError) else {"value": encode(value)}


def compiles(text: str, variables: Sequence[tuple[str, str]]) -> bool:
    """Whether this can be a variable after these. Params are declared."""
    named = [Variable(name=name, path=name, text=other) for name, other in (*variables, ("it", text))]
    try:
        compile_unit([], variables=named, params=True)
    except Exception:  # a crash is found and told where it is the expression itself
        return False
    return True


def parsed(text: str) -> Any:
    """JSON as Kubernetes' decoder reads it: integers beyond int64 are doubles."""

    def integer(digits: str) -> int | float:
        value = int(digits)
        return value if -(2**63) <= value < 2**63 else float(digits)

    return json.loads(text, parse_int=integer)


def difference(found: dict[str, Any], said: dict[str, Any]) -> str:
    """What kind of difference there is between our answer and the server's: AGREE, REFUSED, or its name."""
    if "crash" in found:
        return "crash"
    if "metered" in found:
        return "the metered form differs"
    complaints = found.get("compile_errors", ())
    if complaints == [IN_VARIABLE]:
        return REFUSED  # a stored policy may have such a variable; none can be created
    if any(REFUSED in complaint for complaint in complaints):
        return REFUSED
    if "panic" in said:
        return PANIC
    kinds = [next(key for key in ("value", "error", "compile_errors") if key in each) for each in (found, said)]
    if kinds[0] != kinds[1]:
        return f"{kinds[0]} for {kinds[1]}"
    match kinds[0]:
        case "value":
            same = AGREE if canonical(found["value"]) == canonical(said["value"]) else "value"
        case "error":
            same = _of_texts(found["error"], said["error"])
        case _:
            return _complaints(complaints, said["compile_errors"])
    if same != AGREE or EXCEEDED in found.get("error", ""):
        return same  # how far beyond the limit something was stopped is nobody's concern
    return AGREE if found.get("cost") in (None, said.get("cost")) else "cost"


def _complaints(ours: Sequence[str], theirs: Sequence[str]) -> str:
    if theirs[0].startswith("panic"):
        return AGREE  # nobody can create such a policy
    ours, theirs = ([each.removeprefix(_NOWHERE) for each in told] for told in (ours, theirs))
    if len(ours) != len(theirs):
        return "compile text"
    found = {_of_texts(*each) for each in zip(ours, theirs, strict=True)}
    return FOREIGN if found == {AGREE, FOREIGN} or found == {FOREIGN} else AGREE if found == {AGREE} else "compile text"


def _of_texts(ours: str, theirs: str) -> str:
    if ours == theirs:
        return AGREE
    if theirs.startswith(_CAUGHT):
        return CRASH
    for beginning in _FOREIGN:
        at = theirs.find(beginning)
        if at >= 0 and ours.startswith(theirs[: at + len(beginning)]):
            return FOREIGN
    return "error text"


def canonical(tagged: Any) -> Any:
    """A tagged value in a form that compares as CEL would: maps without order, doubles as numbers."""
    if not isinstance(tagged, dict):
        return tagged
    ((tag, value),) = tagged.items()
    match tag:
        case "double":
            return ("double", repr(float(value)))
        case "value":
            return ("value", canonical(value))
        case "list":
            return ("list", [canonical(element) for element in value])
        case "map":
            return ("map", sorted((repr(canonical(key)), repr(canonical(element))) for key, element in value))
        case "optional":
            return ("optional", None if value is None else canonical(value))
        case "timestamp" | "duration":
            return (tag, int(value["seconds"]), value["nanos"])
    return (tag, value)


def _in_any_order(found: dict[str, Any], answers: Sequence[dict[str, Any]]) -> bool:
    """Whether the server's list, or the text of a map in its error, came out now in this order, now in that, and ours
    is another of the same."""
    theirs = {_shown(each) for each in answers}
    return len(theirs) > 1 and {"".join(sorted(each)) for each in theirs} == {"".join(sorted(_shown(found)))}


def _shown(answer: dict[str, Any]) -> str:
    return f"value {canonical(answer['value'])!r}" if "value" in answer else f"error {answer.get('error', '')}"


class Difference(NamedTuple):
    kind: str
    question: Question
    ours: dict[str, Any]
    server: dict[str, Any]

    @property
    def signature(self) -> tuple[str, str, str]:
        """Equal for differences that are likely to be about the same: the answers without names, numbers and values."""
        return (self.kind, _outline(self.ours), _outline(self.server))

    def __str__(self) -> str:
        variables = "".join(f"\n  variables.{name}: {text}" for name, text in self.question.variables)
        server = {key: value for key, value in self.server.items() if key != "id"}
        return (
            f"{self.kind} (return {self.question.returns}): {self.question.expression}{variables}"
            f"\n  ours:   {json.dumps(self.ours, ensure_ascii=False)}"
            f"\n  server: {json.dumps(server, ensure_ascii=False)}"
        )


def _outline(answer: dict[str, Any]) -> str:
    said = {key: value for key, value in answer.items() if key not in ("id", "cost", "value")}
    return _VARYING.sub("#", json.dumps(said))[:120]


_VARYING: Final = re.compile(r"""\d+|'[^']*'|\\"[^"\\]*\\\"""")


def compare(oracle: Oracle, questions: Sequence[Question]) -> Iterator[tuple[str, Difference | None]]:
    """For each question the kind of difference, and the difference unless there is none."""
    with ThreadPoolExecutor(1) as pool:
        # Both sides at once: the server's is another process.
        asked = pool.submit(oracle.ask, [each.asked() for each in questions])
        answers = [ours(each) for each in questions]
    for question, found, said in zip(questions, answers, asked.result(), strict=True):
        if EXCEEDED in said.get("error", ""):
            found = ours(question._replace(measured=True))  # the form that does not count cannot know
        kind = difference(found, said)
        if kind in (AGREE, REFUSED):
            yield kind, None
        elif _unsteady(oracle, question, found):
            yield AGREE, None
        else:
            yield kind, Difference(kind, question, found, said)


def _unsteady(oracle: Oracle, question: Question, found: dict[str, Any]) -> bool:
    """Whether the server, asked again, says what we say, or agrees with itself as little as with us."""
    again = oracle.ask([question.asked()] * _REPEATS)
    if any(difference(found, said) == AGREE for said in again):
        return True
    return _in_any_order(found, again) or _whichever(found, again)


def _whichever(found: dict[str, Any], answers: Sequence[dict[str, Any]]) -> bool:
    """Whether the server names now this key of a map, now that, as one that is there already."""
    theirs = {each.get("error", "") for each in answers}
    return len(theirs) > 1 and all(_ALREADY in text for text in (*theirs, found.get("error", "")))


def smallest(oracle: Oracle, first: Difference, *, rounds: int = 60) -> Difference:
    """The same kind of difference on the smallest expression that can be cut out of the first."""
    best = first
    for _ in range(rounds):
        candidates = sorted({str(each): each for each in _smaller(best.question.expression)}.items(), key=_length)
        size = len(str(best.question.expression))
        questions = [best.question._replace(expression=node) for text, node in candidates if len(text) < size]
        better = None
        for start in range(0, len(questions), 40):
            results = compare(oracle, questions[start : start + 40])
            better = next((each for kind, each in results if each is not None and kind == first.kind), None)
            if better is not None:
                break
        if better is None:
            break
        best = better
    if best.question.variables:
        plain = best.question._replace(variables=())
        for kind, each in compare(oracle, [plain]):
            if each is not None and kind == first.kind:
                best = each
    return best


def _length(item: tuple[str, Node]) -> int:
    return len(item[0])


_TINY: Final = ("1", "'a'", "true", "[]", "{}", "null", "dyn(1)", "x")


def _smaller(node: Node) -> Iterator[Node]:
    """Expressions with one piece less."""
    if len(node.parts) == 1 and isinstance(text := node.parts[0], str):
        for size in (8, 4, 2, 1):
            for at in range(len(text) - size + 1):
                yield Node(node.type, (text[:at] + text[at + size :],))
    yield from node.walk()
    yield from _replaced(node, lambda part: [*part.walk(), *(Node(part.type, (text,)) for text in _TINY)])


def _replaced(node: Node, by: Callable[[Node], Sequence[Node]]) -> Iterator[Node]:
    for at, part in enumerate(node.parts):
        if isinstance(part, str):
            continue
        for other in by(part):
            yield Node(node.type, (*node.parts[:at], other, *node.parts[at + 1 :]))
        for other in _replaced(part, by):
            yield Node(node.type, (*node.parts[:at], other, *node.parts[at + 1 :]))


__all__ = ["AGREE", "REFUSED", "Difference", "Question", "Type", "compare", "difference", "ours", "smallest"]
