"""Annotated sentence -> training example, by the very code that decodes.

The answer is the one that constrained decoding would write token by token, and every decision carries the set
of tokens that decoding would choose from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ..constraint import Constraint, TagMachine
from ..data import Mention, Sentence
from ..legal import LegalTokens, TagTokens
from ..markup import Markup
from ..schema import Schema
from .batches import Decision, Example
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
        prompt = self.prompt(text)
        ids = list(prompt)
        decisions = []
        for token_id, legal in self.legal_tokens(text).encode(mentions):
            if len(legal) > 1:
                others = tuple(other for other in legal if other != token_id)
                decisions.append(Decision(len(ids), (token_id, *others)))
            ids.append(token_id)
        return Example(tuple(ids), len(prompt), tuple(decisions))
