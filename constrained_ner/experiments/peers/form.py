"""What a form of the answer is, as far as a comparison needs it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ...constraint.edges import Boundary
from ...constraint.markup import Markup
from ...data import Mention, Sentence, Span
from ...prompting.wording import PromptFile


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found in an answer.

    spans: types and places in the sentence. n_absent: names, or places, that the sentence does not have.
    n_unknown: entries without a type of the schema, or of another shape. broken: the answer is not of the
    form, so what comes after the damage is lost.
    """

    spans: tuple[tuple[str, Span], ...] = ()
    n_absent: int = 0
    n_unknown: int = 0
    broken: bool = False

    def sentence(self, text: str) -> Sentence:
        """The text with what was found in it, each place once."""
        mentions = {
            span: Mention((span,), entity_type, text[span.start : span.end], provenance="exact")
            for entity_type, span in reversed(self.spans)
        }
        return Sentence("", text).with_mentions(mentions.values())


class PeerForm(Protocol):
    """A form of the answer: how it is asked for, written in examples, and read.

    prompt: the wording. `{types}` and `{sentence}` are filled in as in any prompt.
    """

    @property
    def prompt(self) -> PromptFile: ...

    @property
    def markup(self) -> Markup: ...

    def write(self, text: str, mentions: Iterable[Mention], boundary: Boundary = "word") -> str:
        """The answer with these mentions, which are sorted and disjoint, on one line."""

    def read(self, text: str, answer: str) -> Reading:
        """What an answer says of the text. The answer may be anything; never raises."""

    def grammar(self, text: str) -> str | None:
        """The JSON schema of the answers that name what is in the text; None if the form has no such."""


def asked(instructions: tuple[str, ...], label: str) -> PromptFile:
    """Instructions, the types, and a record that the answer completes: `Sentence: ...`, `Names:`."""
    return PromptFile(
        sysprompt=(*instructions, "The types are:", "{types}"), usrprompt=("Sentence: {sentence}", label)
    )
