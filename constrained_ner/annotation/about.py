"""What an annotator is, without its model: plain data that goes into a record, and to other processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..constraint.markup import Markup
from ..data import Mention, Sentence
from ..schema import Schema
from ..text.view import view_of
from .consistency import consistent
from .settings import Settings


@dataclass(frozen=True)
class Judge:
    """Decides on the mentions of a whole document, for which no model is needed."""

    schema: Schema
    settings: Settings

    @cached_property
    def markup(self) -> Markup:
        return Markup(self.schema)

    def expressible(self, sentence: Sentence) -> Sequence[Mention]:
        """The mentions of a sentence that tags can express."""
        return self.markup.expressible(sentence, self.settings.boundary)[0]

    def agreed(self, sentences: Sequence[Sentence]) -> list[Sentence]:
        """The sentences of one document made consistent. They hold the doubtful mentions, too.

        Names are compared as the model was shown them: "mida\u00adzolam" is midazolam.
        """
        least = self.settings.min_confidence or 0.0
        views = [view_of(sentence.text, self.settings.view) for sentence in sentences]
        shown = [view.shown_sentence(sentence) for view, sentence in zip(views, sentences, strict=True)]
        agreed = consistent(shown, self.expressible, min_confidence=least)
        return [view.original_sentence(sentence) for view, sentence in zip(views, agreed, strict=True)]


@dataclass(frozen=True)
class About:
    """identity, choices: as `Annotator` says them. judge: makes the sentences of a document agree."""

    identity: dict[str, Any]
    choices: dict[str, Any]
    judge: Judge

    @property
    def consistency(self) -> bool:
        return bool(self.judge.settings.consistency)

    @property
    def model_hash(self) -> str | None:
        """Of the file, or the commit of a model from the hub."""
        model = self.identity["model"]
        found: str | None = model.get("sha256") or model.get("commit")
        return found
