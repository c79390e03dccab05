"""A report as one HTML file: no network, no script needed, light and dark, printable, and small.

`render` chooses how much detail the list of workloads has, so that the file stays below `BUDGET`; it never leaves a
workload out before `LISTED`.
"""

from webhook.audit.report.page.document import BUDGET, LISTED, render

__all__ = ["BUDGET", "LISTED", "render"]
