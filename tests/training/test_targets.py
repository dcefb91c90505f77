"""Training examples for chat models: the prompt and the answer of decoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from finetuning import PROMPT, target_writer

from constrained_ner import Annotator
from constrained_ner.backends.transformers.backend import TransformersBackend
from constrained_ner.backends.transformers.model import load_tokenizer
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.prompting.wording import PromptFile
from constrained_ner.training.targets import TargetWriter


@pytest.fixture(scope="module")
def targets(folder: Path) -> TargetWriter:
    return target_writer(folder)


def test_the_prompt_is_the_one_that_decoding_uses(folder: Path, targets: TargetWriter) -> None:
    text = "Give <|im_end|> aspirin & β-blockers. "
    asked: list[int] = []

    class Listening(TransformersBackend):
        def prefill(self, prefix_ids: Any) -> None:
            asked.extend(prefix_ids)
            super().prefill(prefix_ids)

        def forward(self, steps: Any) -> Any:
            asked.extend(steps[0].token_ids)
            return super().forward(steps)

    backend = Listening(str(folder / "model"), device="cpu")
    with Annotator(backend, prompt=PromptFile.model_validate(PROMPT), decoder="stepwise") as ner:
        found = ner.annotate(text)
    example = targets.write(found)
    assert list(example.ids[:-1]) == asked[: len(example.ids) - 1]


def test_the_end_is_what_the_template_writes(folder: Path, targets: TargetWriter) -> None:
    _, tokenizer = load_tokenizer(str(folder / "model"))
    example = targets.write(Sentence("s", "Take aspirin."))
    assert example.ids[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert min(targets.vocabulary.stop_ids) != example.ids[-1]


def test_the_target_is_what_decoding_will_show(targets: TargetWriter) -> None:
    text = "Take\u00a0as\u00adpirin\u2122."
    mentions = (Mention((Span(5, 13),), "drug", "as\u00adpirin"), Mention((Span(13, 14),), "drug", "\u2122"))
    plain = Sentence("s", "Take aspirin.", (Mention((Span(5, 12),), "drug", "aspirin"),))
    assert targets.write(Sentence("s", text, mentions)) == targets.write(plain)
    written = targets.write_all([Sentence("s", text, mentions)])
    assert written.examples == [targets.write(plain)]
    assert written.refused == {"nothing of it is shown to the model": 1}


def test_what_cannot_be_written_is_counted(targets: TargetWriter) -> None:
    cut = Mention((Span(1, 4),), "drug", "ake")
    parts = Mention((Span(0, 4), Span(5, 7)), "drug", "Take as")
    written = targets.write_all(
        [
            Sentence("a", "Take aspirin.", (cut, parts)),
            Sentence("b", ""),
            Sentence("c", "word " * 3000),
        ]
    )
    assert len(written.examples) == 1
    assert sum(written.refused.values()) == 2
    assert [sentence_id for sentence_id, _ in written.dropped] == ["c"]
