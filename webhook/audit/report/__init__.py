"""Facts → who would be blocked: the figures, and every form in which people get them.

`standing` asks the facts table what is known of each workload, `figures` adds it up, `summary` says it in one sentence;
`text`, `export` and `page` show it. All of them show the same figures: none counts anything itself.
"""
