"""Annotated sentence -> training example for a chat model, by the very code that decodes.

The prompt is what `PromptEncoder` makes of the sentence, the answer is what `LegalTokens` would write token
by token, and the end token is the one that the model's own chat template writes after an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ...constraint.automaton import Constraint, TagMachine
from ...constraint.legal import LegalTokens
from ...constraint.markup import Markup
from ...constraint.tag_tokens import TagTokens
from ...data import Mention, Sentence
from ...prompting.chat_template import ChatTemplate
from ...prompting.encoder import PromptEncoder
from ...prompting.messages import Prompts
from ...prompting.wording import PromptFile
from ...schema import Schema
from ...vocabulary import Vocabulary
from ..batches import Example
from ..bundled_model.targets import write_answer


@dataclass(frozen=True)
class ChatExamples:
    """What became of some sentences.

    refused: reason -> how many mentions tags cannot express; the rest of their sentences is kept.
    dropped: (sentence id, reason) of the sentences that are not among the examples.
    """

    examples: list[Example] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    dropped: list[tuple[str, str]] = field(default_factory=list)


class ChatTargets:
    """Examples for one model, one schema and one prompt.

    vocabulary, chat_template: of the model, as its back end has them.
    n_context: the most tokens that an example may have. What is longer is dropped, never cut.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        chat_template: str | None,
        *,
        schema: Schema,
        prompt: PromptFile,
        n_context: int,
    ) -> None:
        self.vocabulary = vocabulary
        self.n_context = n_context
        self.markup = Markup(schema)
        self.machine = TagMachine(self.markup)
        self.tag_tokens = TagTokens(self.machine, vocabulary)
        self.prompt = PromptEncoder(
            Prompts(prompt, self.markup), vocabulary, chat_template, answer_ids=lambda example: []
        )
        self.end = end_of_answer(vocabulary, chat_template)

    def write_all(self, sentences: Iterable[Sentence]) -> ChatExamples:
        """The examples of the sentences that have text; each is checked to be a legal answer."""
        written = ChatExamples()
        for sentence in sentences:
            if not sentence.text:
                continue
            mentions, refused = self.markup.expressible(sentence)
            written.refused.update(r.reason for r in refused)
            try:
                example = self.write(sentence.text, mentions)
            except ValueError as error:
                written.dropped.append((sentence.id, str(error)))
                continue
            if len(example.ids) > self.n_context:
                reason = f"{len(example.ids)} tokens, but the context has {self.n_context}"
                written.dropped.append((sentence.id, reason))
            else:
                written.examples.append(example)
        return written

    def write(self, text: str, mentions: Iterable[Mention]) -> Example:
        """The example of a text with expressible mentions. ValueError where the constraint refuses it."""
        mentions = tuple(mentions)
        constraint = Constraint(text, self.machine, leading_space=self.vocabulary.leading_space)
        prompt = [*self.prompt.prefix_ids, *self.prompt.ids(text)]
        example = write_answer(prompt, LegalTokens(constraint, self.tag_tokens), mentions, self.end)
        read = constraint.read(self.vocabulary.decode(example.ids[len(prompt) : -1]))
        if read is None or [(t.type, t.span) for t in read] != [(m.type, m.spans[0]) for m in mentions]:
            raise ValueError("the constraint reads other mentions off the answer")
        return example


def end_of_answer(vocabulary: Vocabulary, chat_template: str | None) -> int:
    """The stop token that the chat template writes after an answer; else the tokenizer's own."""
    pieces = ChatTemplate(chat_template, vocabulary).render(["user", "assistant", "user"])
    after = str(pieces[pieces.index(1) + 1]) if 1 in pieces else ""  # some show the last message alone
    written = vocabulary.encode_template(after) if after else []
    for token_id in (*written[:1], vocabulary.eos_id):
        if token_id is not None and token_id in vocabulary.stop_ids:
            return token_id
    return min(vocabulary.stop_ids)
