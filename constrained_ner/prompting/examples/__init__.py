"""Choosing the examples that a prompt shows: the same ones for every sentence, or the most similar to each.

pool.py     the sentences that may be shown
choosing.py first, random, diverse, and hand-picked ones
similar.py  the nearest ones to each question
fitting.py  what is dropped where not all of them fit
shots.py    what was asked for -> examples
"""

from .by_similarity import SimilarExamples
from .fitting import most_that_fit
from .pool import examples_hash
from .request import SELECTIONS, Chooser, Shots

__all__ = ["SELECTIONS", "Chooser", "Shots", "SimilarExamples", "examples_hash", "most_that_fit"]
