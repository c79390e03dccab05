"""Audit logs → events → facts → readiness: what the cluster's own record proves about a policy.

`source` reads lines out of files, `events` knows the API server's audit event, `facts` keeps what matters of it,
`readiness` judges. Knows nothing of serving, evaluation or CEL: what the webhook said is read from the annotations
that the API server recorded, and what it was asked from `policy.SetRecord`s.
"""
