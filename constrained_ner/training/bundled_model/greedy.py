"""Constrained greedy decoding of many sentences at once, plainly, to watch a model while it learns.

Draft the rest of the sentence, verify it in one pass, take the model's choice at the first place where it
differs, draft again. The shipped decoders do the same with a cache and on any engine; what they find counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ...constraint.automaton import State
from ...constraint.legal import LegalTokens
from ...data import Sentence
from ...evaluation import Evaluation, evaluate
from ...schema import DDI
from ..batches import Decision, Example, make_batch
from ..losses import legal_scores
from .targets import TargetWriter
from .tokenizer import ModelTokenizer


@dataclass
class _Answer:
    """A sentence's answer as far as it is accepted."""

    sentence: Sentence
    prompt: list[int]
    legal: LegalTokens
    state: State
    ids: list[int] = field(default_factory=list)
    done: bool = False


@torch.no_grad()
def find_mentions(
    model: Any, tokenizer: ModelTokenizer, sentences: Sequence[Sentence], *, n_together: int = 48
) -> list[Sentence]:
    """The same sentences with the mentions that constrained greedy decoding finds."""
    writer = TargetWriter(tokenizer, DDI)
    answers = [_begin(sentence, writer) for sentence in sentences]
    was_training = model.training
    model.eval()
    while waiting := sorted((a for a in answers if not a.done), key=lambda a: len(a.prompt)):
        for first in range(0, len(waiting), n_together):
            _extend(model, tokenizer, waiting[first : first + n_together])
    model.train(was_training)
    return [_annotated(answer, tokenizer) for answer in answers]


def measure(model: Any, tokenizer: ModelTokenizer, gold: Sequence[Sentence]) -> Evaluation:
    """Exact spans and types of what greedy decoding finds, against gold."""
    found = find_mentions(model, tokenizer, gold)
    return evaluate(
        [(s.id, mention) for s in gold for mention in s.mentions],
        [(s.id, mention) for s in found for mention in s.mentions],
    )


def _begin(sentence: Sentence, writer: TargetWriter) -> _Answer:
    legal = writer.legal_tokens(sentence.text)
    return _Answer(sentence, writer.prompt(sentence.text), legal, legal.constraint.start)


def _draft(answer: _Answer, closing: frozenset[int], end: int) -> Iterator[tuple[int, dict[int, State]]]:
    """The rest of the answer without further names: an open tag is closed where it first may be."""
    state = answer.state
    while True:
        legal = answer.legal.legal(state)
        token = next((t for t in legal if t in closing or t == end), None)
        if token is None:
            copying = answer.legal.copying_token(state)
            token = copying[0] if copying and copying[0] in legal else next(iter(legal))
        yield token, legal
        if token == end:
            return
        state = legal[token]


def _extend(model: Any, tokenizer: ModelTokenizer, answers: Sequence[_Answer]) -> None:
    """Accept as much of each answer's draft as the model agrees with, and its choice after that."""
    closing = frozenset(tokenizer.tags(DDI).close)
    drafts = [list(_draft(answer, closing, tokenizer.end)) for answer in answers]
    examples = []
    for answer, draft in zip(answers, drafts, strict=True):
        ids = [*answer.prompt, *answer.ids, *(token for token, _ in draft)]
        first = len(ids) - len(draft)
        decisions = (Decision(first + i, tuple(legal)) for i, (_, legal) in enumerate(draft))
        examples.append(Example(tuple(ids), len(answer.prompt), tuple(decisions)))
    batch = make_batch(examples, tokenizer.pad)
    columns = torch.from_numpy(batch.ids).to(model.device)
    hidden = model.model(input_ids=columns, use_cache=False).last_hidden_state.flatten(0, 1)
    best = iter(legal_scores(hidden, model.lm_head.weight, batch).argmax(dim=-1).tolist())
    for answer, draft in zip(answers, drafts, strict=True):
        choices = [list(legal)[next(best)] for _, legal in draft]
        for (token, legal), choice in zip(draft, choices, strict=True):
            answer.ids.append(choice)
            answer.state = legal[choice]
            answer.done = choice == tokenizer.end
            if choice != token:
                break


def _annotated(answer: _Answer, tokenizer: ModelTokenizer) -> Sentence:
    sentence = answer.sentence
    tagged = answer.legal.constraint.read(tokenizer.vocabulary.decode(answer.ids[:-1])) or ()
    return sentence.with_mentions(t.mention(sentence.text) for t in tagged)
