"""The constraint inside transformers, Outlines and llama-cpp-python, on real tiny models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import byte_level_tokenizer, write_gguf, write_transformers
from vocabularies import sentencepiece_vocabulary

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
llama_cpp = pytest.importorskip("llama_cpp")

from routines import run_all  # noqa: E402

from constrained_ner.backends.llamacpp.backend import LlamaCppBackend  # noqa: E402
from constrained_ner.backends.protocol import LogitsBackend  # noqa: E402
from constrained_ner.backends.transformers.backend import TransformersBackend  # noqa: E402
from constrained_ner.constraint.automaton import Constraint, TagMachine  # noqa: E402
from constrained_ner.constraint.legal import LegalTokens, TokenRule  # noqa: E402
from constrained_ner.constraint.markup import Markup  # noqa: E402
from constrained_ner.constraint.tag_tokens import TagTokens  # noqa: E402
from constrained_ner.decoding.stepwise import stepwise  # noqa: E402
from constrained_ner.integrations.logits_processor import OutlinesLogitsProcessor  # noqa: E402
from constrained_ner.schema import DDI  # noqa: E402
from constrained_ner.vocabulary import Vocabulary  # noqa: E402

TEXTS = ["Effect of aspirin on beta-blockers.", "", "No names here ", "Naïve \U0001f48a <drug> & MPTP"]
PROMPTS = ["What?", "Mark the drugs: ", "x", "Patients on warfarin should avoid ibuprofen"]
RULES: list[TokenRule] = ["canonical", "any"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_transformers(tmp_path_factory.mktemp("hf"), "llama")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    found = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
    found.pad_token = found.eos_token
    return found


@pytest.fixture(scope="module")
def backend(folder: Path) -> Iterator[TransformersBackend]:
    backend = TransformersBackend(str(folder), device="cpu", batch=2)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", byte_level_tokenizer())


@pytest.fixture(scope="module")
def llama_backend(gguf: Path) -> Iterator[LlamaCppBackend]:
    backend = LlamaCppBackend(gguf, threads=1)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def llama(gguf: Path) -> Any:
    """The same file in llama-cpp-python's own class, with the cache in float32 like ours."""
    return llama_cpp.Llama(
        str(gguf), n_ctx=512, verbose=False, n_threads=1, n_threads_batch=1, type_k=0, type_v=0
    )


def reference(
    backend: LogitsBackend, prompts: Sequence[Sequence[int]], texts: Sequence[str], rule: TokenRule
) -> list[str]:
    """The answers of our own decoder."""
    tag_tokens = TagTokens(TagMachine(Markup(DDI)), backend.vocabulary)
    decoders = (
        stepwise(ids, LegalTokens(Constraint(text, tag_tokens.machine), tag_tokens, rule), 500)
        for ids, text in zip(prompts, texts, strict=True)
    )
    backend.prefill([])
    return [
        backend.vocabulary.decode(answer.token_ids).decode() for answer in run_all(iter(decoders), backend)
    ]


def generate(
    model: Any, tokenizer: Any, prompts: Sequence[str], processor: OutlinesLogitsProcessor, **options: Any
) -> list[list[int]]:
    """The ids that transformers generates after each prompt."""
    inputs = tokenizer(list(prompts), return_tensors="pt", padding=True)
    found = model.generate(
        **inputs,
        logits_processor=transformers.LogitsProcessorList([processor]),
        max_new_tokens=160,
        eos_token_id=sorted(processor.vocabulary.stop_ids),
        pad_token_id=tokenizer.pad_token_id,
        **{"do_sample": False, **options},
    )
    ids: list[list[int]] = found[:, inputs["input_ids"].shape[1] :].tolist()
    return ids


def written(vocabulary: Vocabulary, answer: Sequence[int]) -> str:
    end = next(n for n, token_id in enumerate(answer) if token_id in vocabulary.stop_ids)
    return vocabulary.decode(answer[:end]).decode()


@pytest.mark.parametrize("rule", RULES)
def test_transformers_writes_what_our_decoder_writes(
    model: Any, tokenizer: Any, backend: TransformersBackend, rule: TokenRule
) -> None:
    """A batch of different sentences after prompts of different lengths; twice with one processor."""
    expected = reference(backend, tokenizer(PROMPTS)["input_ids"], TEXTS, rule)
    assert len({answer.count("<drug>") + answer.count("<brand>") for answer in expected}) > 1
    processor = OutlinesLogitsProcessor(TEXTS, backend.vocabulary, rule=rule)
    for _ in range(2):
        answers = generate(model, tokenizer, PROMPTS, processor)
        assert [written(backend.vocabulary, answer) for answer in answers] == expected
    other_prompts = [*PROMPTS[1:], "?"]
    answers = generate(model, tokenizer, other_prompts, processor)
    expected = reference(backend, tokenizer(other_prompts)["input_ids"], TEXTS, rule)
    assert [written(backend.vocabulary, answer) for answer in answers] == expected


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n_beams", [2, 5])
def test_beams_are_legal_and_the_same_twice(
    model: Any, tokenizer: Any, backend: TransformersBackend, rule: TokenRule, n_beams: int
) -> None:
    texts, prompts = TEXTS[:3], PROMPTS[:3]
    processor = OutlinesLogitsProcessor(texts, backend.vocabulary, rule=rule)
    options = {"num_beams": n_beams, "num_return_sequences": n_beams, "early_stopping": True}
    answers = generate(model, tokenizer, prompts, processor, **options)
    assert len(answers) == 3 * n_beams
    best = answers[::n_beams]
    for text, answer, sentence in zip(texts, best, processor.read(best), strict=True):
        assert sentence is not None, written(backend.vocabulary, answer)
        assert sentence.text == text
    again = generate(model, tokenizer, prompts, processor, **options)
    assert again == answers
    every = processor.read(answers)
    for row in range(n_beams):  # the first sentence has more legal answers than beams
        assert every[row] is not None


def test_samples_are_legal(model: Any, tokenizer: Any, backend: TransformersBackend) -> None:
    processor = OutlinesLogitsProcessor(TEXTS, backend.vocabulary)
    torch.manual_seed(0)
    answers = generate(model, tokenizer, PROMPTS, processor, do_sample=True, num_return_sequences=3)
    sentences = processor.read(answers)
    assert [sentence and sentence.text for sentence in sentences] == [t for t in TEXTS for _ in range(3)]


def test_one_sentence_serves_any_number_of_prompts(
    model: Any, tokenizer: Any, backend: TransformersBackend
) -> None:
    processor = OutlinesLogitsProcessor(TEXTS[0], backend.vocabulary)
    expected = reference(backend, tokenizer(PROMPTS)["input_ids"], [TEXTS[0]] * 4, "canonical")
    answers = generate(model, tokenizer, PROMPTS, processor)
    assert [written(backend.vocabulary, answer) for answer in answers] == expected
    assert written(backend.vocabulary, *generate(model, tokenizer, PROMPTS[:1], processor)) == expected[0]


def test_outlines_on_transformers(model: Any, tokenizer: Any, backend: TransformersBackend) -> None:
    outlines = pytest.importorskip("outlines")
    processor = OutlinesLogitsProcessor(TEXTS, backend.vocabulary)
    generator = outlines.Generator(outlines.from_transformers(model, tokenizer), processor=processor)
    options = {"max_new_tokens": 160, "do_sample": False, "pad_token_id": tokenizer.pad_token_id}
    options["eos_token_id"] = sorted(backend.vocabulary.stop_ids)
    asked = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
        )
        for prompt in PROMPTS
    ]
    expected = reference(backend, tokenizer(asked)["input_ids"], TEXTS, "canonical")
    for _ in range(2):
        assert generator.batch(PROMPTS, **options) == expected


@pytest.mark.parametrize("rule", RULES)
def test_llama_cpp_python_writes_what_our_decoder_writes(
    llama: Any, llama_backend: LlamaCppBackend, rule: TokenRule
) -> None:
    """One processor per sentence, used for every prompt, the last one twice."""
    prompts = [llama.tokenize(prompt.encode()) for prompt in PROMPTS[:2]]
    for text in TEXTS:
        processor = OutlinesLogitsProcessor(text, llama_backend.vocabulary, rule=rule)
        for ids in (*prompts, prompts[-1]):
            answer = llama.create_completion(
                ids,
                max_tokens=160,
                temperature=0,
                logits_processor=llama_cpp.LogitsProcessorList([processor]),
            )["choices"][0]
            assert answer["finish_reason"] == "stop"
            assert [answer["text"]] == reference(llama_backend, [ids], [text], rule)


def test_outlines_on_llama_cpp(llama: Any, llama_backend: LlamaCppBackend) -> None:
    outlines = pytest.importorskip("outlines")
    processor = OutlinesLogitsProcessor(TEXTS[0], llama_backend.vocabulary)
    generator = outlines.Generator(outlines.from_llamacpp(llama, chat_mode=False), processor=processor)
    expected = reference(llama_backend, [llama.tokenize(PROMPTS[0].encode())], TEXTS[:1], "canonical")
    for _ in range(2):
        assert [generator(PROMPTS[0], max_tokens=160, temperature=0)] == expected


# ---- the processor alone


def rows_of(processor: OutlinesLogitsProcessor, rows: list[list[int]]) -> list[set[int]]:
    """The ids that are left in each row."""
    logits = np.zeros((len(rows), len(processor.vocabulary)), dtype=np.float32)
    masked = processor(np.array(rows), logits)
    assert (logits == 0).all()
    return [set(np.flatnonzero(row == 0).tolist()) for row in masked]


def test_a_new_generation_is_noticed() -> None:
    vocabulary = sentencepiece_vocabulary()
    processor = OutlinesLogitsProcessor("aspirin", vocabulary)
    stop = min(vocabulary.stop_ids)
    first = rows_of(processor, [[5, 6]])
    answer = vocabulary.encode("aspirin")
    for n in range(1, len(answer) + 1):
        last = rows_of(processor, [[5, 6, *answer[:n]]])
    assert last == [{stop}]
    assert rows_of(processor, [[5, 6]]) == first  # the same prompt again
    assert rows_of(processor, [[7]]) == first  # another one
    assert rows_of(processor, [[7, *answer]]) == first  # longer by more than a token that was seen
    assert rows_of(processor, [[5, 6]]) == first
    rows_of(processor, [[5, 6, answer[0]]])
    assert rows_of(processor, [[5, 6, answer[0], stop]]) == first  # an answer that has ended is a prompt now


def test_a_part_of_an_answer_as_a_prompt_needs_reset() -> None:
    vocabulary = sentencepiece_vocabulary()
    processor = OutlinesLogitsProcessor("aspirin", vocabulary)
    first = rows_of(processor, [[5]])
    answer = vocabulary.encode("aspirin")
    rows_of(processor, [[5, answer[0]]])
    assert rows_of(processor, [[5, answer[0]]]) != first
    processor.reset()
    assert rows_of(processor, [[5, answer[0]]]) == first


def test_rows_have_to_fit_the_sentences() -> None:
    vocabulary = sentencepiece_vocabulary()
    with pytest.raises(ValueError, match="3 rows for 2 sentences"):
        rows_of(OutlinesLogitsProcessor(["a", "b"], vocabulary), [[1], [1], [1]])
    with pytest.raises(ValueError, match="texts is empty"):
        OutlinesLogitsProcessor([], vocabulary)


def test_an_unfinished_answer_is_none() -> None:
    vocabulary = sentencepiece_vocabulary()
    processor = OutlinesLogitsProcessor("aspirin", vocabulary)
    ids = vocabulary.encode("<brand>aspirin</brand>")
    assert processor.read([ids[:-1]]) == [None]
    (sentence,) = processor.read([[*ids, min(vocabulary.stop_ids), 9, 9]])
    assert sentence is not None
    assert [(m.type, m.text, m.provenance) for m in sentence.mentions] == [
        ("brand", "aspirin", "constrained")
    ]
