"""A page about runs: what their logs, options and predictions say (tools/report.py)."""
