"""One page that compares runs: a table of options and results, figures, and details of each run.

    page = ReportPage.of(score_runs(find_records([Path("results")])))
    html, markdown = page.html(), page.markdown()

The page is one self-contained file: it can be mailed, archived, and opened without a network.

page.py               the page, as HTML and as Markdown
tables.py             the tables that it has
quotes.py             errors in their sentences
figures.py            which figures it has
drawing.py            lines and points as SVG
confidence_figure.py  calibration and precision-recall curves, for `bin/evaluate --plot`
tracking.py           logging runs to MLflow
"""

from .page import ReportPage

__all__ = ["ReportPage"]
