"""A teacher marks running text: its own answers, and how likely each tag was along the way.

Any model that shows its logits can be the teacher. The sentence with the lexicon's names in it is the draft
that the teacher verifies, several sentences in a pass, so that its answer takes one or two passes. What it
thought of each place is read off the decisions that led to the answer: nothing is computed twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from ...annotation.annotator import Annotator
from ...constraint.automaton import Constraint, State, is_single
from ...constraint.legal import LegalTokens
from ...data import Sentence
from ...decoding.answer import Answer, Choice
from ...decoding.copy_draft import copy_draft
from ...decoding.scheduler import Ticket, scheduler_of
from ...errors import InputError, ModelError, SentenceError
from ...files import read_lines
from ...text.view import shown_sentence
from ..targets import TargetWriter
from .marks import Marks, either, read_marks


def marked_by(
    teacher: Annotator, tagged: Sequence[Sentence], n: int, path: Path, rng: np.random.Generator
) -> list[Marks]:
    """Let the teacher mark `n` of the sentences that the lexicon tagged, and keep the marks in `path`.

    A run that was stopped goes on after the last whole line. Raises InputError if `path` is about others.
    """
    chosen = [shown_sentence(tagged[i]) for i in rng.permutation(len(tagged))[:n]]
    n_done = _n_done(path, chosen)
    with path.open("a", encoding="utf-8") as file:
        for marks in Marker(teacher).mark(chosen[n_done:]):
            file.write(marks.to_json() + "\n")
            file.flush()
    return read_marks(path)


class Marker:
    """Marks sentences by one model. Raises ModelError if it does not show its logits."""

    def __init__(self, teacher: Annotator) -> None:
        backend = teacher.backend
        if not backend.shows_logits:
            raise ModelError(
                f"{teacher.settings.model}: a teacher must be a local model, which shows its logits"
            )
        self._backend = backend
        self._scheduler = scheduler_of(backend)
        self._writer = TargetWriter(
            backend.vocabulary, backend.chat_template, schema=teacher.schema, prompt=teacher.prompt
        )

    def mark(self, sentences: Iterable[Sentence]) -> Iterator[Marks]:
        """The sentences with the teacher's mentions and probabilities, in order. Their own are drafts."""
        left = iter(sentences)
        waiting: deque[tuple[Sentence, LegalTokens, Ticket[Answer]]] = deque()
        while True:
            for sentence in islice(left, 2 * self._backend.max_sequences - len(waiting)):
                waiting.append((sentence, *self._submit(sentence)))
            if not waiting:
                return
            sentence, legal_tokens, ticket = waiting.popleft()
            try:
                answer = ticket.result()
            except SentenceError:  # too long for the teacher
                yield Marks(Sentence(sentence.id, sentence.text), False, {}, {}, {})
            else:
                yield read_off(sentence, legal_tokens, answer)

    def _submit(self, sentence: Sentence) -> tuple[LegalTokens, Ticket[Answer]]:
        writer, backend = self._writer, self._backend
        legal_tokens = writer.tokens.of(sentence.text)
        assert isinstance(legal_tokens, LegalTokens), "teachers answer in tags"
        expected, _ = writer.markup.expressible(sentence)
        prefix_ids = writer.prompt.prefix_ids
        decoder = copy_draft(
            writer.prompt.ids(sentence.text),
            legal_tokens,
            backend.context_length - len(prefix_ids),
            expected,
            horizon=backend.draft_horizon,
            summary=False,
        )
        return legal_tokens, self._scheduler.submit(decoder, prefix_ids)


def read_off(sentence: Sentence, legal_tokens: LegalTokens, answer: Answer) -> Marks:
    """The marks of an answer: its mentions, and the probabilities of what was decided on the way.

    A sentence that itself spells a tag teaches nothing: what a token does there may not be certain.
    """
    constraint = legal_tokens.constraint
    tagged = constraint.read(legal_tokens.vocabulary.decode(answer.token_ids))
    if tagged is None:
        raise AssertionError(f"the decoder wrote an illegal answer for {sentence.text!r}")
    reader = _Reader(constraint)
    state = legal_tokens.start
    certain = True
    for token_id, choice in zip(answer.token_ids, answer.choices, strict=True):
        legal = legal_tokens.legal(state)
        after = legal[token_id]
        chances = [(after, 1.0)] if choice is None else _chances(choice, legal)
        certain = certain and is_single(after)
        if certain:
            reader.step(state, after, chances)
        state = after
    mentions = tuple(span.mention(sentence.text) for span in tagged)
    marked = Sentence(sentence.id, sentence.text).with_mentions(mentions)
    return Marks(marked, certain, either(reader.opens), reader.types, either(reader.closes))


class _Reader:
    """Collects what was decided, by place."""

    def __init__(self, constraint: Constraint) -> None:
        self.constraint = constraint
        self.opens: list[tuple[int, float]] = []
        self.closes: list[tuple[int, float]] = []
        self.types: dict[int, dict[str, float]] = {}
        self._still = 1.0  # of the type that is being written, given that a tag opens

    def step(self, before: State, after: State, chances: Sequence[tuple[State, float]]) -> None:
        """Note one token. chances: the states that the legal tokens lead to, with their probabilities."""
        machine = self.constraint.machine
        context = machine.context(before)
        if context in machine.mention_contexts:
            ends = [p for to, p in chances if machine.context(to) not in machine.mention_contexts]
            if ends and len(chances) > 1:
                self.closes.append((self._character(before), sum(ends)))
        elif context in (machine.START, machine.OUTSIDE):
            opening = [(to, p) for to, p in chances if self._writes_tag(to)]
            if opening and len(chances) > 1:
                self.opens.append((max(self._character(to) for to, _ in opening), sum(p for _, p in opening)))
            if self._writes_tag(after):
                self._still = 1.0
                total = sum(p for _, p in opening)
                self._note_types(after, [(to, p / total) for to, p in opening])
        elif self._writes_tag(before):
            self._note_types(after, chances)

    def _note_types(self, after: State, chances: Sequence[tuple[State, float]]) -> None:
        """Share what is left of the probability among the types that these tokens lead to."""
        types = self.types.setdefault(self._character(after), {})
        for to, p in chances:
            kinds = self._types_at(to)
            if to != after or len(kinds) == 1:
                types[kinds[0]] = types.get(kinds[0], 0.0) + self._still * p
        self._still *= sum(p for to, p in chances if to == after)
        if len(self._types_at(after)) == 1:
            self._still = 0.0  # nothing is left to decide

    def _types_at(self, state: State) -> list[str]:
        """The types whose opening tag may have led here."""
        context = self.constraint.machine.context(state)
        return [name for name, contexts in self.constraint.machine.opening.items() if context in contexts]

    def _writes_tag(self, state: State) -> bool:
        return bool(self._types_at(state))

    def _character(self, state: State) -> int:
        return self.constraint.character_at(self.constraint.machine.position(state))


def _chances(choice: Choice, legal: dict[int, State]) -> list[tuple[State, float]]:
    """The states that the legal tokens lead to, each with its probability."""
    others = iter(choice.margins)
    logits = np.array([0.0 if token_id == choice.token_id else next(others) for token_id in legal])
    weights = np.exp(logits - logits.max())
    return list(zip(legal.values(), (weights / weights.sum()).tolist(), strict=True))


def _n_done(path: Path, chosen: Sequence[Sentence]) -> int:
    """How many lines are there already, all of them whole. A line that was cut off is taken away."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
    n_done = 0
    for number, line in enumerate(read_lines(path)):
        try:
            found = Marks.from_json(line).sentence
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: line {number + 1}: not a teacher's marks: {error!r}") from None
        if number >= len(chosen) or (found.id, found.text) != (chosen[number].id, chosen[number].text):
            raise InputError(f"{path}: line {number + 1}: marks of another choice of sentences")
        n_done += 1
    return n_done
