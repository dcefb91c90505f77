"""One page that compares runs: a table of what differs and what came of it, figures, and every run's details.

    runs = score_runs(find_records([Path("results")]))
    report = Report.of(runs)
    html, markdown = report.html(), report.markdown()

The page is one file that loads nothing: it can be mailed, archived, and opened without a network.
"""

from .page import Report

__all__ = ["Report"]
