"""Decisions as policies make them, with variables, over objects with holes: what the unit says is what the metered form
says, which the API server's own code is compared with.

`WOULDBLOCK_DECISIONS` says how many evaluations are made, `WOULDBLOCK_DECISIONS_SEED` which ones.
"""

from __future__ import annotations

import os
from typing import Any, Final

from tests.cel.decisions import EACH, Decisions
from webhook.cel.tagged import encode
from webhook.cel.unit import CompileErrors, EvalError, Expression, Inputs, Unit, compile_unit

EVALUATIONS: Final = int(os.environ.get("WOULDBLOCK_DECISIONS", "3000"))
SEED: Final = int(os.environ.get("WOULDBLOCK_DECISIONS_SEED", "20261130"))


def said(unit: Unit, inputs: Inputs, *, metered: bool) -> Any:
    evaluation = unit.start(inputs)
    found = evaluation.measure(0)[0] if metered else evaluation.value(0)
    return found.text if isinstance(found, EvalError) else encode(found)


def test_the_unit_says_what_the_metered_one_says() -> None:
    made = 0
    for text, variables, inputs in Decisions(SEED):
        expression = Expression(path="e", text=text)
        try:
            units = [compile_unit([expression], variables=variables, metered=metered) for metered in (False, True)]
        except CompileErrors:
            continue
        for each in inputs:
            fast, metered = said(units[0], each, metered=False), said(units[1], each, metered=True)
            shown = {variable.name: variable.text for variable in variables}
            assert fast == metered, f"{text}\n{shown}\nobject: {each.object}\noldObject: {each.old_object}"
        made += EACH
        if made >= EVALUATIONS:
            break
