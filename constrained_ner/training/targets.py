"""Annotated sentence -> training example, written by the same code that decodes.

The prompt is what `PromptEncoder` makes of the sentence. The answer is what constrained decoding would write,
token by token, and every decision carries the tokens that decoding would choose from. The last token is the
one that the model's own chat template writes after an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ..constraint.automaton import Constraint, State, TagMachine
from ..constraint.legal import END, LegalTokens
from ..constraint.markup import Markup
from ..constraint.tag_tokens import TagTokens
from ..data import Mention, Sentence
from ..decoding.answer import is_decision
from ..prompting.chat_template import ChatTemplate
from ..prompting.encoder import PromptEncoder
from ..prompting.messages import Prompts
from ..prompting.wording import PromptFile
from ..schema import Schema
from ..text.view import shown_sentence
from ..vocabulary import Vocabulary
from .batches import Decision, Example

Softening = Callable[[Decision, Constraint, State, Sequence[State]], Decision]
"""(decision, constraint, state before, states after its legal tokens) -> it with what a teacher expects."""


@dataclass(frozen=True)
class WrittenTargets:
    """The examples of some sentences, and what was left out.

    refused: reason -> number of mentions that tags cannot express; the rest of the sentence is kept.
    dropped: (sentence id, reason) of every sentence that has no example.
    """

    examples: list[Example] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    dropped: list[tuple[str, str]] = field(default_factory=list)


class TargetWriter:
    """Writes examples for one model, one schema and one prompt.

    vocabulary, chat_template: the model's, as its back end reports them.
    prompt: None takes the built-in one.
    n_context: longest example in tokens; `write_all` drops longer ones and never cuts them.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        chat_template: str | None,
        *,
        schema: Schema,
        prompt: PromptFile | None = None,
        n_context: int | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.n_context = n_context
        self.markup = Markup(schema)
        self.machine = TagMachine(self.markup)
        self.tag_tokens = TagTokens(self.machine, vocabulary)
        self.prompt = PromptEncoder(
            Prompts(prompt or PromptFile.built_in(), self.markup),
            vocabulary,
            chat_template,
            answer_ids=lambda example: [],
        )
        self.end = _end_of_answer(vocabulary, chat_template)

    def write_all(self, sentences: Iterable[Sentence]) -> WrittenTargets:
        """Write an example for every sentence that has text."""
        written = WrittenTargets()
        for sentence in sentences:
            if not sentence.text:
                continue
            shown = shown_sentence(sentence)
            _, refused = self.markup.expressible(shown)
            written.refused.update(r.reason for r in refused)
            if n_lost := len(sentence.mentions) - len(shown.mentions):
                written.refused["nothing of it is shown to the model"] += n_lost
            try:
                example = self.write(shown)
            except ValueError as error:
                written.dropped.append((sentence.id, str(error)))
                continue
            if self.n_context is not None and len(example.ids) > self.n_context:
                reason = f"{len(example.ids)} tokens do not fit the context of {self.n_context}"
                written.dropped.append((sentence.id, reason))
            else:
                written.examples.append(example)
        return written

    def write(self, sentence: Sentence, softened: Softening | None = None) -> Example:
        """Write the example of one sentence as the model is shown it (see `text.view`).

        Mentions that tags cannot express stay untagged.
        softened: is given each decision, and returns it with what a teacher expects there.
        Raises ValueError if no legal answer marks the others, or if the answer does not read back as them.
        """
        sentence = shown_sentence(sentence)
        mentions, _ = self.markup.expressible(sentence)
        constraint = Constraint(sentence.text, self.machine, leading_space=self.vocabulary.leading_space)
        ids = [*self.prompt.prefix_ids, *self.prompt.ids(sentence.text)]
        n_prompt = len(ids)
        decisions = []
        state = constraint.start
        for token_id, legal in LegalTokens(constraint, self.tag_tokens).encode(mentions):
            written = self.end if legal[token_id] == END else token_id
            if is_decision(legal):
                others = tuple(other for other in legal if other != written)
                decision = Decision(len(ids), (written, *others))
                after = [legal[token_id], *(legal[other] for other in others)]
                decisions.append(softened(decision, constraint, state, after) if softened else decision)
            ids.append(written)
            state = legal[token_id]
        self._check(constraint, ids[n_prompt:-1], mentions)
        return Example(tuple(ids), n_prompt, tuple(decisions))

    def _check(self, constraint: Constraint, answer: list[int], mentions: Iterable[Mention]) -> None:
        read = constraint.read(self.vocabulary.decode(answer))
        if read is None or [(t.type, t.span) for t in read] != [(m.type, m.spans[0]) for m in mentions]:
            raise ValueError("the answer does not read back as the same mentions")


def _end_of_answer(vocabulary: Vocabulary, chat_template: str | None) -> int:
    """The stop token that the chat template writes after an answer, or else the tokenizer's own."""
    pieces = ChatTemplate(chat_template, vocabulary).render(["user", "assistant", "user"])
    after = str(pieces[pieces.index(1) + 1]) if 1 in pieces else ""  # some templates show only the last turn
    written = vocabulary.encode_template(after) if after else []
    for token_id in (*written[:1], vocabulary.eos_id):
        if token_id is not None and token_id in vocabulary.stop_ids:
            return token_id
    return min(vocabulary.stop_ids)
