"""Annotated sentence -> training example, by the very code that decodes.

The answer is the one that constrained decoding would write token by token, and every decision carries the set
of tokens that decoding would choose from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ...constraint.automaton import Constraint, TagMachine
from ...constraint.legal import END, LegalTokens
from ...constraint.markup import Markup
from ...constraint.tag_tokens import TagTokens
from ...data import Mention, Sentence
from ...decoding.answer import is_decision
from ...schema import Schema
from ..batches import Decision, Example
from .tokenizer import TASKS, ModelTokenizer


class TargetWriter:
    """Examples in one schema.

    refused: reason -> how many mentions could not be written as tags, over all sentences so far.
    """

    def __init__(self, tokenizer: ModelTokenizer, schema: Schema) -> None:
        self.tokenizer = tokenizer
        self.markup = Markup(schema)
        self.machine = TagMachine(self.markup)
        self.tag_tokens = TagTokens(self.machine, tokenizer.vocabulary)
        self.separator = tokenizer.control(TASKS[schema.name])
        self.refused: Counter[str] = Counter()

    def legal_tokens(self, text: str) -> LegalTokens:
        """The decoder's view of a sentence."""
        return LegalTokens(Constraint(text, self.machine), self.tag_tokens)

    def prompt(self, text: str) -> list[int]:
        """The sentence and the separator: what the chat template renders."""
        return [*self.tokenizer.encode(text), self.separator]

    def write(self, sentence: Sentence) -> Example:
        """The example of a sentence; what tags cannot express is left untagged and counted."""
        mentions, refused = self.markup.expressible(sentence)
        self.refused.update(r.reason for r in refused)
        return self.write_mentions(sentence.text, mentions)

    def write_mentions(self, text: str, mentions: Iterable[Mention]) -> Example:
        """The example of a text with expressible mentions. ValueError if no legal answer marks them."""
        return write_answer(self.prompt(text), self.legal_tokens(text), mentions, self.tokenizer.end)


def write_answer(
    prompt: Sequence[int], legal_tokens: LegalTokens, mentions: Iterable[Mention], end: int
) -> Example:
    """The prompt and the answer that marks these mentions, with its decisions.

    end: the stop token to write, of those that are legal. ValueError if no legal answer marks the mentions.
    """
    ids = list(prompt)
    decisions = []
    for token_id, legal in legal_tokens.encode(mentions):
        written = end if legal[token_id] == END else token_id
        if is_decision(legal):
            others = tuple(other for other in legal if other != written)
            decisions.append(Decision(len(ids), (written, *others)))
        ids.append(written)
    return Example(tuple(ids), len(prompt), tuple(decisions))
