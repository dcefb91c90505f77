"""The constraint in other generation loops: Outlines, `transformers.generate`, llama-cpp-python.

All of them take a logits processor: a callable that sees the tokens so far and may change the scores of the
next one. Ours keeps the scores of the legal tokens and sets all others to minus infinity. It uses only what
the three have in common, so none of them is imported here.

    processor = OutlinesLogitsProcessor(["Effect of aspirin.", "No names."], vocabulary)

    model.generate(**inputs, logits_processor=[processor], eos_token_id=[*vocabulary.stop_ids])
    outlines.Generator(outlines_model, processor=processor).batch(prompts)
    llama.create_completion(prompt, logits_processor=[one_processor])

The decoders of this package do the same with a fraction of the forward passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import numpy as np

from ..constraint.answer_form import AnswerName, answer_form
from ..constraint.automaton import DEAD, State
from ..constraint.edges import Boundary
from ..constraint.legal import END, LegalTokenSets, TokenRule
from ..constraint.markup import Markup
from ..data import Sentence
from ..decoding.answer import is_decision, only
from ..schema import DDI, Schema
from ..vocabulary import Vocabulary

Ids = tuple[int, ...]


class OutlinesLogitsProcessor:
    """Restricts a model to the legal answers of sentences, one answer per row. Reusable.

    texts: a sentence for each prompt of a batch, in order, or one sentence for any number of prompts. Several
        rows may share a prompt (beams, samples) if they are next to each other.
    vocabulary: the model's (`vocabulary_of_tokenizer`, `load_vocabulary`). Pass its `stop_ids` to generate()
        as `eos_token_id`, which by itself knows only some of them.
    answer, occurrences: the form of the answers (see `constraint.answer_form`).

    The ids of a row decide what it may write, never what was in its place before, so beam search may reorder
    rows. A call that does not continue rows seen before begins a new generation. `reset` (which Outlines
    calls) says so explicitly; it is needed only if a new prompt is an old one plus a part of its answer.

    It has the methods of `outlines.processors.OutlinesLogitsProcessor` but does not inherit from it, so that
    transformers works without Outlines.
    """

    def __init__(
        self,
        texts: str | Sequence[str],
        vocabulary: Vocabulary,
        *,
        schema: Schema = DDI,
        rule: TokenRule = "canonical",
        boundary: Boundary = "word",
        answer: AnswerName = "tags",
        occurrences: bool = False,
    ) -> None:
        tokens = answer_form(answer, Markup(schema), occurrences=occurrences).spelt(vocabulary)
        self.vocabulary = vocabulary
        self._walks = [
            _Walk(tokens.of(text, rule, boundary)) for text in ([texts] if isinstance(texts, str) else texts)
        ]
        if not self._walks:
            raise ValueError("texts is empty: pass at least one sentence")
        self._prompts: list[list[int]] = []  # of the generation under way, per row

    def reset(self) -> None:
        """Begin a new generation with the next call."""
        self._prompts = []

    def __call__(self, input_ids: Any, logits: Any) -> Any:
        """The logits with all but the legal tokens at minus infinity; the argument is not changed.

        input_ids: prompt and answer so far, shape (rows, length) or (length,); numpy or torch.
        logits: shape (rows, vocabulary) or (vocabulary,), of the same kind.
        """
        if logits.ndim == 1:
            return self.process_logits(input_ids.reshape(1, -1), logits.reshape(1, -1)).reshape(-1)
        return self.process_logits(input_ids, logits)

    def process_logits(self, input_ids: Any, logits: Any) -> Any:
        """`__call__` for arrays with rows."""
        masked = (
            np.full_like(logits, -np.inf)
            if isinstance(logits, np.ndarray)
            else logits.new_full(logits.shape, float("-inf"))
        )
        for row, legal in enumerate(self._legal_ids(input_ids.tolist())):
            masked[row, legal] = logits[row, legal]
        return masked

    def read(self, answers: Sequence[Sequence[int]]) -> list[Sentence | None]:
        """The sentences with the mentions of their answers, in order; None for an unfinished answer.

        answers: for each row the generated ids, with or without what follows the stop token.
        """
        return [walk.read(answer) for walk, answer in zip(self._walks_of(len(answers)), answers, strict=True)]

    def _legal_ids(self, rows: list[list[int]]) -> list[list[int]]:
        walks = self._walks_of(len(rows))
        if not self._goes_on(rows, walks):
            self._prompts = rows
            for walk in self._walks:
                walk.clear()
        return [walk.legal_ids(answer) for walk, answer in zip(walks, self._answers(rows), strict=True)]

    def _goes_on(self, rows: list[list[int]], walks: list[_Walk]) -> bool:
        """Whether these rows continue the current generation."""
        if len(rows) != len(self._prompts):
            return False
        answers = self._answers(rows)
        for row, prompt, walk, answer in zip(rows, self._prompts, walks, answers, strict=True):
            if not answer or row[: len(prompt)] != prompt or not walk.has_seen(answer[:-1]):
                return False
        # Beam search may keep ended beams. Otherwise, if every row has ended, this is a new prompt with the
        # old answer in it.
        return len(rows) > len(self._walks) or any(
            walk.state(answer) not in (DEAD, END) for walk, answer in zip(walks, answers, strict=True)
        )

    def _answers(self, rows: list[list[int]]) -> list[Ids]:
        """The generated ids of each row; all prompts of a batch have the same length."""
        n_prompt = len(self._prompts[0])
        return [tuple(row[n_prompt:]) for row in rows]

    def _walks_of(self, n_rows: int) -> list[_Walk]:
        """The walk that each row belongs to."""
        n_each, rest = divmod(n_rows, len(self._walks))
        if rest or not n_each:
            raise ValueError(f"{n_rows} rows for {len(self._walks)} sentences: not a multiple")
        return [walk for walk in self._walks for _ in range(n_each)]


class _Walk:
    """All answers to one sentence that are in progress: the state after each sequence of ids."""

    def __init__(self, legal_tokens: LegalTokenSets) -> None:
        self._legal_tokens = legal_tokens
        self._states: dict[Ids, State] = {}
        self.clear()

    def clear(self) -> None:
        self._states = {(): self._legal_tokens.constraint.start}

    def has_seen(self, answer: Ids) -> bool:
        return answer in self._states

    def state(self, answer: Ids) -> State:
        """The state after an answer whose beginning has been seen."""
        found = self._states.get(answer)
        if found is None:
            found = self._states[answer] = self._after(self._states[answer[:-1]], answer[-1])
        return found

    def legal_ids(self, answer: Ids) -> list[int]:
        """The ids that may come next; the stop tokens if nothing else may.

        Beam search fills up with answers of probability 0. They end at once, as do those that have ended.
        """
        state = self.state(answer)
        if state in (DEAD, END):
            return sorted(self._legal_tokens.vocabulary.stop_ids)
        legal = self._legal_tokens.legal(state)
        if is_decision(legal) or END in legal.values():
            return list(legal)
        return [only(legal)]  # of equal spellings the one that decoders take, so that answers are the same

    def _after(self, state: State, token_id: int) -> State:
        if state in (DEAD, END):
            return state
        return self._legal_tokens.legal(state).get(token_id, DEAD)

    def read(self, answer: Sequence[int]) -> Sentence | None:
        """The sentence with the answer's mentions; None if the answer is not legal."""
        constraint, vocabulary = self._legal_tokens.constraint, self._legal_tokens.vocabulary
        written = takewhile(lambda token_id: token_id not in vocabulary.stop_ids, answer)
        tagged = constraint.read(vocabulary.decode(written))
        if tagged is None:
            return None
        text = constraint.text
        return Sentence("", text).with_mentions(t.mention(text) for t in tagged)
