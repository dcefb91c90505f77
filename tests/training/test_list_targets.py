"""Training examples for lists of names: the prompt and the answer of decoding."""

from __future__ import annotations

from typing import Any

import pytest
from vocabularies import byte_level_vocabulary

from constrained_ner import Annotator
from constrained_ner.backends.fake import FakeBackend
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.schema import DDI
from constrained_ner.training.targets import TargetWriter

TEXT = "Iron, aspirin and iron tablets: aspirin."


def mention(start: int, end: int, entity_type: str) -> Mention:
    return Mention((Span(start, end),), entity_type, TEXT[start:end])


def writer(**options: Any) -> TargetWriter:
    return TargetWriter(byte_level_vocabulary(), None, schema=DDI, answer="list", **options)


@pytest.mark.parametrize("occurrences", [False, True])
def test_the_prompt_is_the_one_that_decoding_uses(occurrences: bool) -> None:
    asked: list[int] = []

    class Listening(FakeBackend):
        def prefill(self, prefix_ids: Any) -> None:
            asked.extend(prefix_ids)
            super().prefill(prefix_ids)

        def forward(self, steps: Any) -> Any:
            asked.extend(steps[0].token_ids)
            return super().forward(steps)

    backend = Listening(byte_level_vocabulary(), max_sequences=1)
    ner = Annotator(
        backend, answer="list", occurrences=occurrences, decoder="stepwise", notify=lambda _: None
    )
    found = ner.annotate("Iron and aspirin.")
    example = writer(occurrences=occurrences).write(found)
    assert list(example.ids[: example.n_prompt]) == asked[: example.n_prompt]
    assert all(len(decision.legal) > 1 for decision in example.decisions)


def test_a_line_break_ends_the_answer_of_a_model_without_a_chat_template() -> None:
    targets = writer()
    example = targets.write(Sentence("s", TEXT))
    answer = targets.vocabulary.decode(example.ids[example.n_prompt :])
    assert answer == b" none\n"


def test_places_that_a_list_cannot_tell_apart_are_left_to_occurrences() -> None:
    """A name that is marked at only one of its places."""
    sentence = Sentence("s", TEXT, (mention(32, 39, "drug"),))
    written = writer().write_all([sentence])
    assert [sentence_id for sentence_id, _ in written.dropped] == ["s"]
    targets = writer(occurrences=True)
    (example,) = targets.write_all([sentence]).examples
    assert targets.vocabulary.decode(example.ids[example.n_prompt :]) == b" aspirin (2) = drug\n"
