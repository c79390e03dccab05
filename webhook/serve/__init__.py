"""The webhook: HTTP, TLS and telemetry around `evaluate` and `respond`.

`admit.py` is the hot path; everything beside it is for the people who run the process.
"""
