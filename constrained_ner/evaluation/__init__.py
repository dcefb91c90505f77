"""Predictions against gold, whatever made the predictions.

official.py     counts and table of the official evaluator, which published figures follow
matching.py     gold and predicted mentions paired one to one
error_kinds.py  what went wrong: boundary, type, missed, spurious, ...
semeval.py      the four schemes of SemEval-2013 task 9.1
intervals.py    intervals of F1, by bootstrap over sentences
paired_test.py  the difference between two systems, with its interval
calibration.py  is a confidence of 0.9 right nine times in ten? fitting a temperature
folds.py        documents dealt into folds for cross-validation
curves.py       precision and recall at each confidence threshold
"""

from .calibration import Reliability, fit_temperature
from .curves import Curve, curves
from .error_kinds import ErrorAnalysis, analyse_errors
from .intervals import Interval, Intervals, SentenceCounts, bootstrap
from .matching import Pair, match
from .official import Averages, Counts, Evaluation, evaluate
from .paired_test import paired_difference
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
