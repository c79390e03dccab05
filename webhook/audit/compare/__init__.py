"""After `promote`: what was predicted against what was refused, and why they differ.

A prediction is how a workload stood with a policy just before enforcement began; what came true are the refusals since.
Nothing is guessed: a difference is a *wrong* prediction only where the log shows that the very template that had passed
was refused, or that a write with our finding was accepted where the policy is enforced. Every other difference has the
first cause that applies. Knows the views of the facts table; no files, no output.
"""
