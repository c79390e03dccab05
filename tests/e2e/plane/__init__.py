"""A real Kubernetes control plane for tests: binaries, one cluster, webhooks in front of it.

May be used by any test under `tests/e2e` through the fixtures of its conftest. Knows nothing of policies.
"""
