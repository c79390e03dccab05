"""CEL for Kubernetes, compiled to Python: text → tokens → tree → types → Python source → code object.

Knows nothing of Kubernetes beyond its function libraries: policies, bindings and reviews are `manifest`'s.

The package's surface is `unit.compile_unit`: a *unit* is the set of expressions that share variables and are
evaluated against the same inputs, such as one ValidatingAdmissionPolicy.

| stage | modules |
| --- | --- |
| text | `lexer parser macros tree diagnostics` |
| meaning | `types messages env check`; `overload` and `library/*`, the table of functions |
| literals | `validate` and `fold`: what the server checks and computes when it compiles |
| knowledge | `sure` and `facts`: what is known of a node |
| code | `context codegen emit`; by kind of node `steps calls choices loops literals crashes`; `program` (the `exec`) |
| run time | `values equality error runtime dispatch activation patterns text` |
| cost | `tariff`; `meter meter_steps meter_loops` (the form of code that counts), `metering` (what it calls) |
| people | `trace`, `trace_unit` (the form that keeps each sub-expression's value), `unparse` (a tree as text) |
"""
