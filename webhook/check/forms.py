"""A policy's expressions in the forms that keep every value and that count what it costs. Evaluates nothing."""

from __future__ import annotations

from webhook.cel.trace_unit import TraceUnit
from webhook.cel.unit import Expression, Variable, compile_unit
from webhook.cel.versions import STORED, Version
from webhook.manifest.fields import PolicySpec


class Forms:
    """Made once for a policy, for any number of requests. Its numbers say which expression of `traced` and `metered`
    is what: along the policy's conditions, validations (and their messages, where there are any) and annotations."""

    def __init__(self, spec: PolicySpec, version: Version = STORED) -> None:
        """Raises `CompileErrors`."""
        declared = bool(spec.variables)
        self._expressions: list[Expression] = []
        self.conditions = [self._add(each.expression, variables=False) for each in spec.conditions]
        self.validations = [self._add(each.expression, variables=declared) for each in spec.validations]
        self.messages = [
            self._add(each.message_expression, variables=declared, authorizer=False)
            if each.message_expression
            else None
            for each in spec.validations
        ]
        self.annotations = [self._add(each.expression, variables=declared) for each in spec.audit_annotations]
        variables = [Variable(name=each.name, path=each.name, text=each.expression) for each in spec.variables]
        params = spec.param_kind is not None
        self.traced = TraceUnit(self._expressions, variables=variables, params=params, version=version)
        self.metered = compile_unit(
            self._expressions, variables=variables, params=params, metered=True, version=version
        )

    def _add(self, text: str, *, variables: bool, authorizer: bool = True) -> int:
        path = f"expressions[{len(self._expressions)}]"
        self._expressions.append(Expression(path=path, text=text, variables=variables, authorizer=authorizer))
        return len(self._expressions) - 1
