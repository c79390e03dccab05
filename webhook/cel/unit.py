"""A unit: the expressions that share variables and inputs, compiled together into one Python module.

The API that `manifest.py` and `cel eval` use; see the package docstring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from webhook.errors import WouldblockError

Returns = Literal["bool", "string", "audit", "any"]
"""Required static result type: `audit` is string or null."""


class Expression(msgspec.Struct, frozen=True, kw_only=True):
    """One expression of a unit."""

    path: str
    """Where it stands, such as `spec.validations[0].expression`; names it in errors and in generated code."""
    text: str
    returns: Returns = "any"
    variables: bool = True
    """Whether `variables` is declared (not in match conditions)."""
    authorizer: bool = True
    """Whether `authorizer` is declared (not in message expressions)."""


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    path: str
    text: str


class CompileError(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with an expression. Line and column count from 1, in code points; 0: no position."""

    path: str
    line: int = 0
    column: int = 0
    message: str
    source: str = ""
    """The expression's line, for the caret."""


class CompileErrors(WouldblockError):
    """All that is wrong with a unit."""

    def __init__(self, errors: Sequence[CompileError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(error.message for error in errors))


class EvalError(msgspec.Struct, frozen=True):
    """A run-time error as a value. `text` is the API server's own, without the wrapper
    `expression '…' resulted in error: `."""

    text: str


MISSING: Any = object()
"""For `Inputs.namespace_object`: there is a namespace, but its content is not known."""


class Inputs(msgspec.Struct, kw_only=True):
    """What the expressions see; `None` is CEL null. JSON values: dict, list, str, int, float, bool, None."""

    object: Any = None
    old_object: Any = None
    params: Any = None
    namespace_object: Any = None
    request: Any = None
    """The `request` variable as a dict, empty optional strings absent."""
    check_deadline: Callable[[], None] | None = None
    """Called now and then inside long loops; may raise `errors.DeadlineExceeded`, which passes through."""


class Unit:
    """A compiled unit. Immutable; evaluate it from any thread.

    `source` is the generated Python. `expressions` are in the order given to `compile_unit`.
    """

    source: str

    def start(self, inputs: Inputs) -> Evaluation:
        """A new evaluation with fresh variables."""
        raise NotImplementedError


class Evaluation:
    """One run of a unit over one set of inputs. Variables are computed lazily and remembered (values and errors)
    until `forget_variables`."""

    def value(self, index: int) -> Any:
        """The value of expression `index`, or an `EvalError`.

        Raises `errors.NotComparable` when it asks for what a webhook cannot know (the authorizer), and
        `errors.NeedsState` when `namespace_object` is `MISSING` and is looked at.
        """
        raise NotImplementedError

    def forget_variables(self) -> None:
        raise NotImplementedError


def compile_unit(
    expressions: Sequence[Expression],
    *,
    variables: Sequence[Variable] = (),
    params: bool = False,
    name: str = "unit",
) -> Unit:
    """Compiles a unit. `params` says whether `params` is declared. Raises `CompileErrors` with all of them."""
    raise NotImplementedError
