"""The facts table: what audit logs say, as one flat table that every figure is computed from.

`schema` says what the columns are, `rows` makes them from events, `store` keeps them as Parquet by day, `engine` opens
them as DuckDB views. Knows events and facts; no policies, no verdicts, no output.
"""
