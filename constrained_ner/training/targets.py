"""Annotated sentence -> training example, written by the same code that decodes.

The prompt is what `PromptEncoder` makes of the sentence. The answer is what constrained decoding would write,
token by token, and every decision carries the tokens that decoding would choose from. The last token is the
one that the model's own chat template writes after an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ..constraint.answer_form import AnswerName, answer_form
from ..constraint.automaton import Constraint, State
from ..constraint.legal import END
from ..constraint.markup import Markup
from ..constraint.sentence_automaton import SentenceAutomaton
from ..data import Mention, Sentence
from ..decoding.answer import is_decision
from ..errors import UserError
from ..prompting.chat_template import ChatTemplate
from ..prompting.encoder import PromptEncoder
from ..prompting.messages import Prompts
from ..prompting.records import Conversation
from ..prompting.wording import USUAL_PROMPTS, PromptFile
from ..schema import Schema
from ..text.view import shown_sentence
from ..vocabulary import Vocabulary
from .batches import Decision, Example
from .partial_labels import PartialLabels

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
    prompt: None takes the usual one of the form. answer, occurrences: the form of the answers.
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
        answer: AnswerName = "tags",
        occurrences: bool = False,
    ) -> None:
        self.vocabulary = vocabulary
        self.n_context = n_context
        self.markup = Markup(schema)
        self.form = answer_form(answer, self.markup, occurrences=occurrences)
        conversation = Conversation.of(answer, chat_template, vocabulary)
        self.tokens = self.form.spelt(
            vocabulary, end_ids=conversation.end_ids, leading_space=conversation.leading_space
        )
        self.prompt = PromptEncoder(
            Prompts(prompt or PromptFile.built_in(USUAL_PROMPTS[answer]), self.markup, form=self.form),
            vocabulary,
            conversation.template,
            answer_ids=lambda example: [],
        )
        self.end = _end_of_answer(vocabulary, conversation)

    def write_all(
        self, sentences: Iterable[Sentence], partial: PartialLabels | None = None
    ) -> WrittenTargets:
        """Write an example for every sentence that has text. partial: what marks of other types mean."""
        written = WrittenTargets()
        for sentence in sentences:
            if not sentence.text:
                continue
            shown = shown_sentence(sentence)
            _, refused = self.markup.expressible(partial.written(shown) if partial else shown)
            written.refused.update(r.reason for r in refused)
            if n_lost := len(sentence.mentions) - len(shown.mentions):
                written.refused["nothing of it is shown to the model"] += n_lost
            try:
                example = self.write(shown, partial)
            except ValueError as error:
                written.dropped.append((sentence.id, str(error)))
                continue
            if self.n_context is not None and len(example.ids) > self.n_context:
                reason = f"{len(example.ids)} tokens do not fit the context of {self.n_context}"
                written.dropped.append((sentence.id, reason))
            else:
                written.examples.append(example)
        return written

    def write(
        self,
        sentence: Sentence,
        partial: PartialLabels | None = None,
        softened: Softening | None = None,
    ) -> Example:
        """Write the example of one sentence as the model is shown it (see `text.view`).

        Mentions that tags cannot express stay untagged. partial: the sentence is from another corpus, whose
        marks know the answer only in part. softened: is given each decision, and returns it with what a
        teacher expects there.
        Raises ValueError if no legal answer marks the others, or if the answer does not read back as them.
        """
        sentence = shown_sentence(sentence)
        mentions, _ = self.markup.expressible(partial.written(sentence) if partial else sentence)
        legal_tokens = self.tokens.of(sentence.text)
        ids = [*self.prompt.prefix_ids, *self.prompt.ids(sentence.text)]
        n_prompt = len(ids)
        answers = None
        constraint = legal_tokens.constraint
        if partial is not None or softened is not None:
            if not isinstance(constraint, Constraint):
                raise UserError("other corpora and teachers speak of tags only; leave out --answer list")
            answers = partial.right_answers(sentence, constraint, mentions) if partial else None
        decisions, unpredicted = [], set()
        state = legal_tokens.start
        for token_id, legal in legal_tokens.encode(mentions):
            written = self.end if legal[token_id] == END else token_id
            if is_decision(legal):
                also_right = answers.others(token_id, legal) if answers else []
                wrong = [other for other in legal if other not in also_right and other != written]
                decision = Decision(len(ids), (written, *also_right, *wrong))
                if also_right:
                    sides = (*[0] * (1 + len(also_right)), *[1] * len(wrong))
                    decision = replace(decision, outcomes=sides, expected=(1.0,))
                    unpredicted.add(len(ids))
                if softened is not None:
                    assert isinstance(constraint, Constraint)
                    after = [legal[token_id], *(legal[other] for other in wrong)]
                    decision = softened(decision, constraint, state, after)
                if wrong:
                    decisions.append(decision)
            ids.append(written)
            state = legal[token_id]
        self._check(constraint, ids[n_prompt:-1], mentions)
        return Example(tuple(ids), n_prompt, tuple(decisions), frozenset(unpredicted))

    def _check(self, constraint: SentenceAutomaton, answer: list[int], mentions: Iterable[Mention]) -> None:
        read = constraint.read(self.vocabulary.decode(answer))
        found = None if read is None else sorted((t.span, t.type) for t in read)
        if found != sorted((m.spans[0], m.type) for m in mentions):
            raise ValueError("the answer does not read back as the same mentions")


def _end_of_answer(vocabulary: Vocabulary, conversation: Conversation) -> int:
    """The token with which the chat template ends an answer, or else the tokenizer's own."""
    end_ids = vocabulary.stop_ids | conversation.end_ids
    pieces = ChatTemplate(conversation.template, vocabulary).render(["user", "assistant", "user"])
    after = str(pieces[pieces.index(1) + 1]) if 1 in pieces else ""  # some templates show only the last turn
    written = vocabulary.encode_template(after) if after else []
    for token_id in (*written[:1], vocabulary.eos_id):
        if token_id is not None and token_id in end_ids:
            return token_id
    return min(vocabulary.stop_ids)
