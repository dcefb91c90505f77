"""Predictions against gold: nothing here knows how they arose.

official.py     the evaluator's counts and table, which published figures follow
matching.py     gold and predicted mentions in pairs, one to one
error_kinds.py  what went wrong: boundary, type, missed, spurious, ...
semeval.py      the four schemes of SemEval-2013 task 9.1
intervals.py    bootstrap over sentences: intervals of F1, and of the difference of two systems
calibration.py  whether a confidence of 0.9 is right nine times in ten; fitting a temperature
curves.py       precision and recall against the least confidence
"""

from .calibration import Reliability, fit_temperature
from .curves import Curve, curves
from .error_kinds import ErrorAnalysis, analyse_errors
from .intervals import Interval, Intervals, SentenceCounts, bootstrap, paired_difference
from .matching import Pair, match
from .official import Averages, Counts, Evaluation, evaluate
from .semeval import SemEval, score_semeval

__all__ = [
    "Averages",
    "Counts",
    "Curve",
    "ErrorAnalysis",
    "Evaluation",
    "Interval",
    "Intervals",
    "Pair",
    "Reliability",
    "SemEval",
    "SentenceCounts",
    "analyse_errors",
    "bootstrap",
    "curves",
    "evaluate",
    "fit_temperature",
    "match",
    "paired_difference",
    "score_semeval",
]
