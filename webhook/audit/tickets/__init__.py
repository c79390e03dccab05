"""Facts → tickets: who has to mend what until when, and when it provably is mended.

`observe` asks the facts, `settle` decides whether a workload still violates, `reconcile` compares with the tickets that
there are, `document` writes one for people, `folder` and `alertmanager` are where they go. Everything but those two
and `observe` is pure. Knows nothing of policies' code, of serving, or of the command line.
"""
