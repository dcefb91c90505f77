"""A whole input, end to end.

job.py       read, annotate, settle, write
stretches.py what is left to annotate, in pieces that any process may take
team.py      who annotates: this process, or several
workers.py   several processes, their work and their deaths; worker.py is the other end
examples.py  the examples that a run shows, kept apart from what it annotates
journal.py   what is done so far; survives a kill
record.py    what was asked for and what came of it
splits.py    what may be learnt from, and how often a test was looked at
progress.py  the display
"""
