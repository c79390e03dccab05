"""CEL for Kubernetes, compiled to Python: text → tokens → tree → types → Python source → code object.

Knows nothing of Kubernetes beyond its function libraries: policies, bindings and reviews are `manifest.py`'s.

The package's surface is `compile_unit`: a *unit* is the set of expressions that share variables and are
evaluated against the same inputs, such as one ValidatingAdmissionPolicy.
"""
