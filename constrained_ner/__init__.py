"""Named entities by a language model that can only copy the sentence and insert tags.

from constrained_ner import Annotator
ner = Annotator.load()
sentence = ner.annotate("Effect of aspirin on beta-blockers.")
"""

from .annotation.annotator import Annotator
from .annotation.settings import Settings
from .data import Document, Mention, Sentence, Span
from .errors import ConstrainedNerError, SentenceError, UserError
from .schema import DDI, EntityType, Schema

__version__ = "0.1.0"

__all__ = [
    "DDI",
    "Annotator",
    "ConstrainedNerError",
    "Document",
    "EntityType",
    "Mention",
    "Schema",
    "Sentence",
    "SentenceError",
    "Settings",
    "Span",
    "UserError",
    "__version__",
]
