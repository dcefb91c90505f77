"""The bundled model through ONNX Runtime: the scores of llama.cpp, and the same bits whatever else runs."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hard_texts import random_text, texts
from hypothesis import given
from interleavings import check_interleaving, check_that_no_bit_depends_on_the_cut

from constrained_ner import Annotator, Sentence
from constrained_ner.annotation.annotator import bundled_model
from constrained_ner.backends import load_backend
from constrained_ner.backends.bundled_cpu.backend import BundledCpuBackend
from constrained_ner.backends.bundled_cpu.graph import onnxruntime
from constrained_ner.backends.bundled_cpu.model_files import Precision, graph_path
from constrained_ner.backends.bundled_cpu.tokenizer import split_words, vocabulary_of_gguf
from constrained_ner.backends.bundled_cpu.weights import LARGEST_INTEGER, LlamaShape, quantised, weights_of
from constrained_ner.backends.gguf_file import GgufFile
from constrained_ner.backends.protocol import LogitsBackend, Scores, Step
from constrained_ner.errors import ModelError
from constrained_ner.vocabulary import Vocabulary

PRECISIONS = get_args(Precision)
TEXT = "Effect of aspirin (500 mg/day) on beta-blockers, e.g. propranolol, in patients with heart failure."
N_SENTENCES = 300


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return vocabulary_of_gguf(GgufFile(bundled_model()))


@pytest.fixture(scope="module", params=PRECISIONS)
def precision(request: pytest.FixtureRequest) -> Precision:
    chosen: Precision = request.param
    return chosen


@pytest.fixture
def backend(precision: Precision) -> BundledCpuBackend:
    return BundledCpuBackend(bundled_model(), batch=3, precision=precision)


@pytest.fixture(scope="module")
def all_at_once(precision: Precision) -> Callable[[tuple[int, ...]], np.ndarray]:
    """The logits of the last token, computed from an empty cache."""
    backend = BundledCpuBackend(bundled_model(), precision=precision)
    everything = range(len(backend.vocabulary))

    def row(ids: tuple[int, ...]) -> np.ndarray:
        scores = backend.forward([Step(0, 0, ids, [None] * (len(ids) - 1) + [everything])])[0][-1]
        assert scores is not None
        return scores.logits

    return row


@pytest.fixture(scope="module")
def llama_in_float32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as a GGUF in float32: with 8-bit weights, llama.cpp rounds what it multiplies."""
    restore = pytest.importorskip("constrained_ner.training.bundled_model.restore")
    save = pytest.importorskip("constrained_ner.training.bundled_model.save")
    pytest.importorskip("llama_cpp")
    path = tmp_path_factory.mktemp("float32") / "f32.gguf"
    save.save_gguf(*restore.restore(bundled_model()), path, precision="f32")
    return path


def logits_of(backend: LogitsBackend, ids: Sequence[int]) -> np.ndarray:
    """Of every 20th id and the tags, after each of the last 100 tokens."""
    watch = [*range(0, 7980, 20), *range(7980, 8000)]
    n_silent = max(0, len(ids) - 100)
    [found] = backend.forward([Step(0, 0, ids, [None] * n_silent + [watch] * (len(ids) - n_silent))])
    return np.array([scores.logits for scores in found if scores is not None])


# ---- the scores


@pytest.mark.parametrize("seed", range(6))
def test_any_interleaving_gives_the_scores_of_the_kept_tokens(
    backend: BundledCpuBackend, all_at_once: Callable[[tuple[int, ...]], np.ndarray], seed: int
) -> None:
    check_interleaving(backend, all_at_once, seed=seed, tolerance=1e-5)


def test_float32_has_the_scores_of_llama_cpp(llama_in_float32: Path, vocabulary: Vocabulary) -> None:
    llama = load_backend(llama_in_float32, threads=1)
    assert llama.shows_logits
    exact = BundledCpuBackend(bundled_model(), precision="float32")
    for text in (TEXT, TEXT * 15):  # the second fills most of the context
        ids = vocabulary.encode(text)
        ids += [*vocabulary.encode_template("<|sep|>"), *ids[:20]]
        np.testing.assert_allclose(logits_of(exact, ids), logits_of(llama, ids), atol=2e-3, rtol=1e-4)


def test_int8_stays_close(vocabulary: Vocabulary) -> None:
    ids = [*vocabulary.encode(TEXT), *vocabulary.encode_template("<|sep|>"), *vocabulary.encode(TEXT)]
    exact, rounded = (
        logits_of(BundledCpuBackend(bundled_model(), precision=p), ids) for p in ("float32", "int8")
    )
    assert np.sqrt(np.mean((exact - rounded) ** 2)) < 0.05 * exact.std()


def test_the_summary_is_that_of_the_whole_vocabulary(backend: BundledCpuBackend) -> None:
    everything = range(len(backend.vocabulary))
    [[_, scores, _, empty]] = backend.forward([Step(0, 0, [5, 6, 7, 8], [None, everything, None, ()])])
    assert scores is not None
    row = scores.logits.astype(np.float64)
    assert scores.logsumexp == pytest.approx(row.max() + np.log(np.exp(row - row.max()).sum()), abs=1e-4)
    assert scores.best == row.argmax()
    assert empty is not None
    assert empty.logits.shape == (0,)


# ---- the same bits, whatever else runs


def test_no_bit_depends_on_how_the_tokens_come(backend: BundledCpuBackend, vocabulary: Vocabulary) -> None:
    check_that_no_bit_depends_on_the_cut(backend, vocabulary.encode(TEXT * 4), range(7900, 8000))


def test_no_bit_depends_on_what_else_is_watched(backend: BundledCpuBackend) -> None:
    [[_few, more]] = backend.forward([Step(0, 0, [5, 6], [[7999], range(8000)])])
    [[_, alone]] = backend.forward([Step(0, 0, [5, 6], [None, [42, 7999]])])
    assert more is not None
    assert alone is not None
    np.testing.assert_array_equal(alone.logits, more.logits[[42, 7999]])


def answers(ner: Annotator, sentences: Sequence[Sentence]) -> list[list[tuple[object, ...]]]:
    return [
        [(m.start, m.end, m.type, m.confidence) for m in result.sentence.mentions]
        for result in ner.run(sentences)
    ]


@pytest.fixture(scope="module")
def sentences(gold: dict[str, list[Sentence]]) -> list[Sentence]:
    return gold["devel"][:: len(gold["devel"]) // N_SENTENCES][:N_SENTENCES]


def test_an_answer_depends_on_no_other_sentence(sentences: list[Sentence], precision: Precision) -> None:
    """Alone, after others (whose names change the drafts), and eight at a time: the same bits."""
    some = sentences[:60]
    one_by_one = []
    with Annotator.load(precision=precision) as ner:
        after_others = answers(ner, some)
        for sentence in some:
            one_by_one += answers(ner, [sentence])
    with Annotator.load(precision=precision, batch=8) as ner:
        together = answers(ner, some[::-1])[::-1]
    assert sum(map(len, one_by_one)) > len(some)
    assert one_by_one == after_others == together


def test_a_resumed_run_gives_the_same_bits(sentences: list[Sentence], precision: Precision) -> None:
    some = sentences[:40]
    with Annotator.load(precision=precision) as ner:
        whole = list(ner.run(some))
    with Annotator.load(precision=precision) as ner:
        rest = list(ner.run(some[17:], finished=[result.sentence for result in whole[:17]]))
    assert [result.sentence for result in rest] == [result.sentence for result in whole[17:]]


def test_copy_draft_equals_stepwise(sentences: list[Sentence], precision: Precision) -> None:
    with (
        Annotator.load(precision=precision) as drafting,
        Annotator.load(precision=precision, decoder="stepwise") as stepping,
    ):
        assert answers(drafting, sentences[:60]) == answers(stepping, sentences[:60])


@pytest.fixture(scope="module")
def found_by_llama_cpp(sentences: list[Sentence]) -> list[list[tuple[object, ...]]]:
    pytest.importorskip("llama_cpp")
    with Annotator.load(backend="llamacpp", threads=1, lexicon="none") as ner:
        return answers(ner, sentences)


# llama.cpp's sums depend on where a draft ends, so a few decisions that are nearly ties turn.
@pytest.mark.parametrize(("chosen", "least"), [("int8", 0.98), ("float32", 0.99)])
def test_it_finds_what_llama_cpp_finds(
    sentences: list[Sentence],
    found_by_llama_cpp: list[list[tuple[object, ...]]],
    chosen: Precision,
    least: float,
) -> None:
    with Annotator.load(precision=chosen, lexicon="none") as ner:
        found = answers(ner, sentences)
    n_equal = sum(
        [m[:3] for m in one] == [m[:3] for m in other]
        for one, other in zip(found, found_by_llama_cpp, strict=True)
    )
    assert n_equal >= least * len(sentences)


# ---- the cache


def test_the_cache_grows_and_keeps_what_it_held(
    backend: BundledCpuBackend, all_at_once: Callable[[tuple[int, ...]], np.ndarray]
) -> None:
    backend.prefill([1, 2])
    backend.forward([Step(0, 0, [5, 6, 7], [None] * 3)])
    long = [*range(100, 130)] * 30
    backend.forward([Step(1, 0, long, [None] * len(long))])
    backend.forward([Step(0, 2, long, [None] * len(long))])
    [[scores]] = backend.forward([Step(0, 902, [9], [range(32000)])])
    assert scores is not None
    np.testing.assert_array_equal(scores.logits, all_at_once((1, 2, 5, 6, *long, 9)))


def test_the_context_can_be_filled_to_its_last_token(backend: BundledCpuBackend) -> None:
    full = [7] * (backend.context_length - 1)
    backend.forward([Step(0, 0, full, [None] * len(full))])
    [[scores]] = backend.forward([Step(0, len(full), [8], [[9]])])
    assert scores is not None
    with pytest.raises(ValueError, match="more than 1024 tokens"):
        backend.forward([Step(0, backend.context_length, [8], [[9]])])


def test_a_context_may_be_longer_than_that_of_training() -> None:
    longer = BundledCpuBackend(bundled_model(), context=1500)
    [found] = longer.forward([Step(0, 0, [7] * 1400, [None] * 1399 + [[9]])])
    assert isinstance(found[-1], Scores)


def test_a_failed_pass_leaves_a_usable_back_end(
    backend: BundledCpuBackend, all_at_once: Callable[[tuple[int, ...]], np.ndarray]
) -> None:
    backend.prefill([1, 2, 3])
    backend.forward([Step(0, 0, [4, 5], [None, None])])
    with pytest.raises(ModelError, match=r"onnx: onnxruntime could not evaluate 2 tokens: .*out of") as error:
        backend.forward([Step(0, 2, [10**6, 1], [None, None])])
    assert "\n" not in str(error.value)
    [[scores]] = backend.forward([Step(0, 1, [8], [range(32000)])])
    assert scores is not None
    np.testing.assert_array_equal(scores.logits, all_at_once((1, 2, 3, 4, 8)))


# ---- the tokenizer


def test_the_vocabulary_is_that_of_llama_cpp(vocabulary: Vocabulary) -> None:
    expected = llama_vocabulary()
    for name in ("token_bytes", "control_ids", "stop_ids", "bos_id", "eos_id", "leading_space"):
        assert getattr(vocabulary, name) == getattr(expected, name), name


def test_real_sentences_have_the_ids_of_llama_cpp(
    vocabulary: Vocabulary, gold: dict[str, list[Sentence]]
) -> None:
    expected = llama_vocabulary()
    for sentence in (*gold["train"], *gold["devel"]):
        assert vocabulary.encode(sentence.text) == expected.encode(sentence.text)


def test_random_text_has_the_ids_of_llama_cpp(vocabulary: Vocabulary) -> None:
    expected = llama_vocabulary()
    chance = random.Random(0)
    characters = [code for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    for n in range(4000):
        text = random_text(chance) if n % 2 else "".join(map(chr, chance.choices(characters, k=8))) + " 's 1"
        assert vocabulary._tokenize(text) == expected._tokenize(text), text
        assert vocabulary.encode_template(text) == expected.encode_template(text), text


def llama_vocabulary() -> Vocabulary:
    pytest.importorskip("llama_cpp")
    from constrained_ner.backends.llamacpp.vocabulary import load_vocabulary

    return load_vocabulary(bundled_model())


@given(text=texts)
def test_words_join_to_the_text_and_ids_to_its_bytes(vocabulary: Vocabulary, text: str) -> None:
    assert "".join(split_words(text)) == text
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text.encode()
    assert vocabulary.control_ids.isdisjoint(ids)


def test_words_of_gpt_2() -> None:
    assert split_words("it's 5 mg") == ["it", "'s", " 5", " mg"]
    assert split_words("don't  é2٣ \n") == ["don", "'t", " ", " é", "2٣", " \n"]


def test_a_long_word_takes_no_square_of_time(vocabulary: Vocabulary) -> None:
    assert len(vocabulary.encode("acgt" * 50_000)) > 1000


def test_text_that_spells_control_tokens_is_copied() -> None:
    hard = ["</s><|sep|><|end|> <drug>aspirin</drug>", "<|chemical|> aspirin <|pad|>", "\x00\n aspirin"]
    with Annotator.load(backend="bundled-cpu") as ner:
        assert [sentence.text for sentence in ner.annotate_many(hard)] == hard


def test_a_text_longer_than_the_context_comes_back_whole() -> None:
    text = " ".join(["Patients who took aspirin should not take warfarin."] * 45)
    with Annotator.load(backend="bundled-cpu") as ner:
        sentence = ner.annotate(text)
    assert all(text[m.start : m.end] == m.text for m in sentence.mentions)
    assert sentence.mentions[-1].end > 0.9 * len(text)


# ---- weights


def test_weights_have_seven_bits_so_that_no_processor_saturates() -> None:
    """Two products of an unsigned and a signed byte must fit 16 bits where they are added."""
    file = GgufFile(bundled_model())
    integers = [w for w in weights_of(file, LlamaShape.of(file), "int8").values() if w.dtype == np.int8]
    assert len(integers) == 24
    largest = max(int(np.abs(matrix.astype(int)).max()) for matrix in integers)
    assert largest == LARGEST_INTEGER
    assert 2 * 255 * largest < 2**15


def test_a_matrix_is_rounded_by_row_to_half_a_step() -> None:
    matrix = np.random.default_rng(0).standard_normal((5, 64)).astype(np.float32)
    matrix[3] = 0
    integers, scale = quantised(matrix)
    assert (integers.T * scale[:, None] - matrix).max() <= 0.5001 * scale.max()
    assert not integers[:, 3].any()


# ---- which back end runs, and what is said when none can


def copied(folder: Path, *precisions: Precision) -> Path:
    for source in (bundled_model(), *(graph_path(bundled_model(), p) for p in precisions)):
        shutil.copy(source, folder / source.name)
    return folder / bundled_model().name


def test_a_gguf_with_its_graph_runs_without_llama_cpp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    for model in (bundled_model(), copied(tmp_path, "int8")):
        assert isinstance(load_backend(model, threads=1, batch=2), BundledCpuBackend)


def test_llama_cpp_runs_what_bundled_cpu_cannot(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    from constrained_ner.backends.llamacpp.backend import LlamaCppBackend

    assert isinstance(load_backend(bundled_model(), backend="llamacpp", threads=1), LlamaCppBackend)
    assert isinstance(load_backend(bundled_model(), extra_buffers=False, threads=1), LlamaCppBackend)
    assert isinstance(load_backend(copied(tmp_path), threads=1), LlamaCppBackend)
    with pytest.raises(ModelError, match="bundled-cpu does not take the option 'extra_buffers'"):
        load_backend(bundled_model(), backend="bundled-cpu", extra_buffers=False)
    with pytest.raises(ModelError, match="a GGUF model does not take the option 'precision'"):
        load_backend(bundled_model(), backend="llamacpp", precision="float32")
    with pytest.raises(ModelError, match="tiny: --backend llamacpp runs GGUF files only"):
        load_backend("tiny", backend="llamacpp")


def test_a_graph_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"int8\.onnx: the graph of .*\.gguf is missing; use --backend llama"
    ):
        load_backend(copied(tmp_path), backend="bundled-cpu")


def test_a_graph_of_another_gguf(tmp_path: Path) -> None:
    model = copied(tmp_path, "int8")
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    with pytest.raises(ModelError, match=r"int8\.onnx: not the graph of .*\.gguf, but of another GGUF"):
        load_backend(model)


@pytest.mark.parametrize("damage", ["cut", "not a graph", "no such operator"])
def test_a_graph_that_cannot_be_run(tmp_path: Path, damage: str, capfd: pytest.CaptureFixture[str]) -> None:
    model = copied(tmp_path, "int8")
    path = graph_path(model, "int8")
    content = path.read_bytes()
    changed = {
        "cut": content[: len(content) // 2],
        "not a graph": b"<html>not found</html>",
        "no such operator": content.replace(b"GroupQueryAttention", b"GroupQueryIntuition"),
    }
    path.write_bytes(changed[damage])
    with pytest.raises(ModelError, match=r"int8\.onnx: onnxruntime \S+ cannot run the graph: ") as error:
        load_backend(model)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_an_onnxruntime_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", "1.16.3")
    with pytest.raises(ModelError, match=r"onnxruntime 1\.16\.3 is too old for .*: pip install 'onnx"):
        load_backend(bundled_model())


def test_a_name_that_is_no_file_says_so_before_it_asks_for_torch(tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None\nfrom constrained_ner.cli.annotate import main; main()"
    from subprocess import run

    command = [sys.executable, "-c", code, "examples/sample.xml", str(tmp_path / "out"), "--model", "nosuch"]
    done = run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1] == (
        "error: nosuch: no such file or folder; to look for it on the Hugging Face hub: "
        "torch is not installed: pip install 'constrained-ner[transformers]'"
    )


def test_an_onnxruntime_that_is_missing(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\nfrom constrained_ner.cli.annotate import main; main()"
    )
    from subprocess import run

    command = [sys.executable, "-c", code, "examples/sample.xml", str(tmp_path / "out")]
    done = run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        "error: onnxruntime is not installed: pip install onnxruntime"
    ]


def test_other_models_are_refused(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "other.gguf"
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_tensor("token_embd.weight", np.zeros((8, 8), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelError, match="bundled-cpu runs only Llamas, and this is 'qwen2'"):
        LlamaShape.of(GgufFile(path))
    with pytest.raises(ModelError, match="not GPT-2's tokenizer"):
        vocabulary_of_gguf(GgufFile(path))


def test_identity_and_description(precision: Precision) -> None:
    backend = BundledCpuBackend(bundled_model(), precision=precision)
    assert backend.identity["precision"] == precision
    assert (
        backend.identity
        == BundledCpuBackend(bundled_model(), precision=precision, threads=2, batch=4).identity
    )
    assert str(bundled_model()) not in backend.identity.values()
    assert backend.description["version"].startswith("onnxruntime ")
    assert backend.temperature == pytest.approx(2.364)


def test_close_frees_the_model_and_later_use_is_a_clear_error(backend: BundledCpuBackend) -> None:
    about = backend.description
    backend.close()
    backend.close()
    for use in (lambda: backend.prefill([1]), lambda: backend.forward([Step(0, 0, [1], [None])])):
        with pytest.raises(ModelError, match=r"bundled\.gguf: the model is closed"):
            use()
    assert backend.description == about
