"""Every sentence of the corpus, every real vocabulary, both constrained decoders: the copy is verbatim."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest

from constrained_ner.backends.llamacpp.vocabulary import load_vocabulary
from constrained_ner.backends.protocol import Scores
from constrained_ner.constraint.automaton import Constraint, TagMachine
from constrained_ner.constraint.legal import LegalTokens, TokenRule
from constrained_ner.constraint.markup import Markup
from constrained_ner.constraint.tag_tokens import TagTokens
from constrained_ner.data import Mention, Sentence
from constrained_ner.decoding.answer import Answer, Decoder
from constrained_ner.decoding.copy_draft import copy_draft
from constrained_ner.decoding.stepwise import stepwise
from constrained_ner.schema import DDI

MACHINE = TagMachine(Markup(DDI))
VOCABULARIES = ["gemma-4", "gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2"]


def drive(decoder: Decoder, chance: Random) -> Answer:
    """Run a decoder with a model that mostly prefers the first legal token, and else any."""
    try:
        request = next(decoder)
        while True:
            request = decoder.send([_scores(watch, chance) for watch in request.watch])
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer


def _scores(watch: Sequence[int] | None, chance: Random) -> Scores | None:
    if watch is None:
        return None
    logits = np.zeros(len(watch), dtype=np.float32)
    logits[0 if chance.random() < 0.9 else chance.randrange(len(watch))] = 1.0
    return Scores(logits, logsumexp=9.0, best=watch[0])


@pytest.mark.parametrize("name", VOCABULARIES)
def test_the_answer_is_the_sentence_and_tags(
    name: str, shared: Path, gold: dict[str, list[Sentence]]
) -> None:
    vocabulary = load_vocabulary(shared / "vocab" / f"ggml-vocab-{name}.gguf")
    tag_tokens = TagTokens(MACHINE, vocabulary)
    chance = Random(name)
    n_mentions = 0
    for n, sentence in enumerate((*gold["train"], *gold["devel"])):
        rule: TokenRule = "any" if n % 4 == 3 else "canonical"
        decode = stepwise if n % 2 else copy_draft
        constraint = Constraint(sentence.text, MACHINE, leading_space=vocabulary.leading_space)
        answer = drive(decode((1,), LegalTokens(constraint, tag_tokens, rule), 100_000), chance)
        written = vocabulary.decode(answer.token_ids)
        tagged = constraint.read(written)
        assert tagged is not None, sentence.id
        n_mentions += len(tagged)
        mentions = [Mention((t.span,), t.type, "") for t in tagged]
        expected = MACHINE.markup.write(sentence.text, mentions).encode()
        assert written in (expected, b" " + expected if vocabulary.leading_space else expected), sentence.id
    assert n_mentions > 6820
