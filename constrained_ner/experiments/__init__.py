"""Runs side by side.

grid.py        many runs whose settings differ in a few fields
scored_run.py  a finished run with its figures
measures.py    the figures that are compared
comparison.py  runs compared with one of them
learning.py    how many examples a fine-tuning needs
table.py       a table as text, Markdown and CSV
report/        the page
peers/         other forms of the answer, on the same model
"""
