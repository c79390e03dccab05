"""Expressions as policies have them, by chance: decisions over paths of objects in which anything may be missing or of
another type, and variables."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

from webhook.cel.unit import Inputs, Variable

EACH: Final = 6
"""Objects that each decision is asked about."""

_FIELDS: Final = ("name", "image", "labels", "ports", "replicas", "securityContext")
_LEAVES: Final = ("a", "nginx:latest", "reg/a", "", "1", 0, 1, 2, 1.5, True, False, None)
_TEXTS: Final = ("'a'", "'nginx:latest'", "''", "'1'", "0", "1", "2", "1.0", "true", "null", "[]", "{}", "['a', 'b']")


class Decisions:
    """Writes expressions, and objects that they may be about."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311
        self._choice: Any = self._random.choice

    def __iter__(self) -> Iterator[tuple[str, list[Variable], list[Inputs]]]:
        while True:
            variables = self.variables() if self._random.random() < 0.5 else []
            names = ["object", "object", "oldObject", *(f"variables.{each.name}" for each in variables)]
            depth = self._choice((1, 2, 3, 3, 4))
            text = self.decision(names, depth) if self._random.random() < 0.85 else self.value(names, 3)
            yield text, variables, [self.inputs() for _ in range(EACH)]

    def variables(self) -> list[Variable]:
        texts = {"part": self.path("object"), "value": self.value(["object"], 2), "is": self.decision(["object"], 2)}
        return [Variable(name=name, path=name, text=text) for name, text in texts.items()]

    def inputs(self) -> Inputs:
        value = {field: self.json(4) for field in _FIELDS if self._random.random() < 0.85}
        return Inputs(object=value, old_object=self._choice((None, value, {"name": self.json(3)})))

    def json(self, depth: int) -> Any:
        kind = self._random.random()
        if depth <= 0 or kind < 0.35:
            return self._choice(_LEAVES)
        if kind < 0.75:
            return {field: self.json(depth - 1) for field in _FIELDS if self._random.random() < 0.6}
        return [self.json(depth - 1) for _ in range(self._choice((0, 1, 2, 3)))]

    def path(self, start: str) -> str:
        steps = (".{}", ".{}", ".{}", ".{}", "['{}']", ".?{}", "[?'{}']", "[0]", "[-1]")
        for _ in range(self._choice((0, 1, 1, 2, 2, 3))):
            start += self._choice(steps).format(self._choice(_FIELDS))
        return start

    def value(self, names: list[str], depth: int) -> str:
        path, name = self.path(self._choice(names)), f"v{depth}"

        def inner() -> str:
            return self.value(names, depth - 1)

        kind = self._choice(range(20 if depth > 0 else 13))
        match kind:
            case 0 | 1 | 2:
                return str(self._choice(_TEXTS))
            case 3 | 4 | 5 | 6:
                return str(self._choice(("{}.size()", "string({})", "int({})", "{}.split('a')"))).format(path)
            case 13 | 14:
                return f"{path}.orValue({inner()})"
            case 15:
                return f"{inner()} + {inner()}"
            case 16:
                return f"{path}.map({name}, {self.value([*names, name], depth - 1)})"
            case 17:
                return f"{path}.filter({name}, {self.decision([*names, name], depth - 1)})"
            case 18 | 19:
                return f"({self.decision(names, depth - 1)} ? {path} : {inner()})"
        return path

    def decision(self, names: list[str], depth: int) -> str:
        kind = self._random.random()
        if depth <= 0 or kind < 0.35:
            return self.atom(names, depth)
        if kind < 0.65:
            terms = [self.decision(names, depth - 1) for _ in range(self._choice((2, 2, 3, 4)))]
            return f"({self._choice((' && ', ' || ')).join(terms)})"
        if kind < 0.72:
            return f"!({self.decision(names, depth - 1)})"
        if kind < 0.8:
            condition, then, otherwise = (self.decision(names, depth - 1) for _ in range(3))
            return f"({condition} ? {then} : {otherwise})"
        over = self._choice((*[self.path(self._choice(names))] * 4, "['a', 'b']", "{'a': 1}"))
        name, macro = f"w{depth}", self._choice(("all", "all", "exists", "exists", "exists_one"))
        return f"{over}.{macro}({name}, {self.decision([*names, name], depth - 1)})"

    def atom(self, names: list[str], depth: int) -> str:
        path, field = self.path(self._choice(names)), self._choice(_FIELDS)
        match self._choice(range(16)):
            case 0 | 1 | 2:
                return f"has({path}.{field})"
            case 3 | 4 | 5:
                return f"{self.value(names, depth)} {self._choice(('==', '!='))} {self.value(names, depth)}"
            case 6:
                return f"{self.value(names, depth)} {self._choice(('<', '<=', '>', '>='))} {self.value(names, depth)}"
            case 7:
                return f"{self.value(names, depth)} in {self.value(names, depth)}"
            case 8:
                method = self._choice(("startsWith", "endsWith", "contains", "matches"))
                return f"{path}.{method}({self._choice(('a', 'n'))!r})"
            case 9:
                return f"['a', 'n', 'reg/'].exists(r, {path}.startsWith(r))"
            case 10:
                return f"sets.contains({self.value(names, depth)}, {self.value(names, depth)})"
            case 11:
                return f"{path}.hasValue()"
            case 12:
                type = self._choice(("string", "bool", "int", "double", "list", "map", "null_type"))
                return f"type({path}) {self._choice(('==', '!='))} {type}"
            case 13:
                other = self.path(self._choice(names))
                end = self._choice(("hasValue()", f"orValue({path})"))
                return f"{path}.?{field}.or({other}.?name).{end} == dyn({path})"
            case 14:
                return "has(variables.part)" if "variables.part" in names else f"has({path}.{field})"
        return f"dyn({path})"
