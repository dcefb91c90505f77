"""Named entities by a language model that can only copy the sentence and insert tags.

import constrained_ner
sentence = constrained_ner.annotate("Effect of aspirin on beta-blockers.")
document = constrained_ner.annotate_document("A text of any length. It is cut into sentences.")

ner = constrained_ner.Annotator.load("model.gguf", min_confidence=0.9)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .annotation.annotator import Annotator
    from .annotation.kept import annotate, annotate_document, annotate_many
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
    "annotate",
    "annotate_document",
    "annotate_many",
]

_MODULES = {
    "Annotator": "annotation.annotator",
    "Settings": "annotation.settings",
    **dict.fromkeys(("annotate", "annotate_document", "annotate_many"), "annotation.kept"),
    **dict.fromkeys(("Document", "Mention", "Sentence", "Span"), "data"),
    **dict.fromkeys(("ConstrainedNerError", "SentenceError", "UserError"), "errors"),
    **dict.fromkeys(("DDI", "EntityType", "Schema"), "schema"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that a command can be stopped from its first moment."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
