"""Choosing the examples that a prompt shows: the same for every sentence, or the most similar to each.

pool.py           the sentences that may be shown
fixed.py          first, random, diverse and hand-picked ones
by_similarity.py  the nearest ones to each question
request.py        what was asked for -> examples; SELECTIONS lists the ways to select

To add a way to select, write one function and add one line to SELECTIONS.
"""
