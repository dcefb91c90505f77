"""The real llama.cpp, with models of random weights that are written here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from interleavings import check_interleaving

gguf = pytest.importorskip("gguf")
llama_cpp = pytest.importorskip("llama_cpp")

from tiny_models import CHAT_TEMPLATE, byte_level_tokenizer, write_gguf, write_sentencepiece_gguf  # noqa: E402

from constrained_ner.backends import load_backend  # noqa: E402
from constrained_ner.backends.llamacpp.backend import LlamaCppBackend  # noqa: E402
from constrained_ner.backends.llamacpp.batch import Row, split_rows  # noqa: E402
from constrained_ner.backends.llamacpp.model import LlamaModel  # noqa: E402
from constrained_ner.backends.llamacpp.vocabulary import load_vocabulary  # noqa: E402
from constrained_ner.backends.protocol import Scores, Step  # noqa: E402
from constrained_ner.backends.temperature import store_temperature  # noqa: E402
from constrained_ner.errors import ModelError  # noqa: E402


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("llama") / "tiny.gguf", byte_level_tokenizer())


@pytest.fixture
def backend(model_path: Path) -> LlamaCppBackend:
    return LlamaCppBackend(model_path, threads=1, batch=3)


@pytest.fixture(scope="module")
def from_scratch(model_path: Path) -> Callable[[tuple[int, ...]], np.ndarray]:
    """The same file through llama-cpp-python's own high-level class, from an empty cache every time."""
    llama = llama_cpp.Llama(
        str(model_path),
        n_ctx=512,
        logits_all=True,
        verbose=False,
        n_threads=1,
        n_threads_batch=1,  # waiting threads spin: dear on a busy machine
        type_k=0,
        type_v=0,
    )

    def row(ids: tuple[int, ...]) -> np.ndarray:
        llama.reset()
        llama.eval(list(ids))
        return np.array(llama.scores[len(ids) - 1])

    return row


@pytest.mark.parametrize("seed", range(12))
def test_any_interleaving_gives_the_scores_of_the_kept_tokens(
    backend: LlamaCppBackend, from_scratch: Callable[[tuple[int, ...]], np.ndarray], seed: int
) -> None:
    check_interleaving(backend, from_scratch, seed=seed)


def test_the_cache_grows_and_keeps_what_it_held(
    backend: LlamaCppBackend, from_scratch: Callable[[tuple[int, ...]], np.ndarray]
) -> None:
    first, second = [5, 6, 7], [*range(100, 130)] * 13
    backend.prefill([1, 2])
    backend.forward([Step(0, 0, first, [None] * 3)])
    backend.forward([Step(1, 0, second, [None] * len(second))])  # more than the first block of cells
    [[scores]] = backend.forward([Step(0, 2, [9], [[9, 10]])])
    row = from_scratch((1, 2, 5, 6, 9))
    assert scores is not None
    np.testing.assert_allclose(scores.logits, row[[9, 10]], atol=1e-4)


def test_a_pass_beyond_one_batch_is_split(
    model_path: Path, backend: LlamaCppBackend, from_scratch: Callable[[tuple[int, ...]], np.ndarray]
) -> None:
    tokens = [*range(50, 250)] * 2
    steps = [Step(0, 0, tokens, [[1, 2]] * 400), Step(2, 0, tokens[:300], [None] * 299 + [()])]
    answers = backend.forward(steps)
    assert [len(answer) for answer in answers] == [400, 300]
    last = answers[0][-1]
    assert isinstance(last, Scores)
    np.testing.assert_allclose(last.logits, from_scratch(tuple(tokens))[[1, 2]], atol=1e-4)
    assert answers[1][0] is None
    assert answers[1][-1] is not None
    assert answers[1][-1].best == int(from_scratch(tuple(tokens[:300])).argmax())


def test_parts_keep_order_and_both_limits() -> None:
    rows = [Row(n, n, 1, () if n % 3 else None, (0, n)) for n in range(20)]
    parts = list(split_rows(rows, 6, 3))
    assert [row for part in parts for row in part] == rows
    assert max(len(part) for part in parts) <= 6
    assert max(sum(row.watch is not None for row in part) for part in parts) <= 3


def test_a_failed_pass_leaves_a_usable_back_end(
    backend: LlamaCppBackend, from_scratch: Callable[[tuple[int, ...]], np.ndarray]
) -> None:
    backend.prefill([1, 2, 3])
    backend.forward([Step(0, 0, [4, 5], [None, None])])
    with pytest.raises(
        ModelError, match=r"tiny\.gguf: llama\.cpp could not evaluate 1 tokens: .*invalid token"
    ):
        backend.forward([Step(0, 2, [10**6], [None])])
    [[scores]] = backend.forward([Step(0, 1, [8], [[3]])])
    assert scores is not None
    np.testing.assert_allclose(scores.logits, from_scratch((1, 2, 3, 4, 8))[[3]], atol=1e-4)


def test_context_length_defaults_to_the_models_own(model_path: Path, backend: LlamaCppBackend) -> None:
    assert backend.context_length == 512
    short = LlamaCppBackend(model_path, threads=1, context=20)
    with pytest.raises(ValueError, match="more than 20 tokens"):
        short.forward([Step(0, 0, [1] * 21, [None] * 21)])


def test_description_names_the_file(model_path: Path, backend: LlamaCppBackend) -> None:
    description = backend.description
    assert description["name"] == "tiny.gguf"
    assert len(description["sha256"]) == 64
    assert description["version"].startswith("llama-cpp-python ")
    assert description["device"] == "cpu, 1 threads"
    assert (backend.temperature, backend.adapter_card, backend.base_model) == (None, None, None)


def test_the_identity_is_what_decides_the_answers(model_path: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.gguf"
    moved.symlink_to(model_path)
    one = LlamaCppBackend(model_path, threads=1).identity
    assert one == LlamaCppBackend(moved, threads=2, batch=2, context=64, extra_buffers=False).identity
    assert one != LlamaCppBackend(model_path, threads=1, cache="f16").identity
    assert set(one) == {"backend", "sha256", "precision", "cache", "device"}
    assert str(model_path) not in one.values()


def test_close_frees_the_model_and_later_use_is_a_clear_error(backend: LlamaCppBackend) -> None:
    vocabulary, about = backend.vocabulary, backend.description
    ids = vocabulary.encode("aspirin")
    backend.prefill([1])
    backend.close()
    backend.close()
    assert vocabulary.decode(ids) == b"aspirin"
    for use in (
        lambda: vocabulary.encode("aspirin"),
        lambda: vocabulary.encode_template("<|im_start|>"),
        lambda: backend.prefill([1, 2]),
        lambda: backend.forward([Step(0, 0, [1], [None])]),
        lambda: backend.model.metadata("general.name"),
    ):
        with pytest.raises(ModelError, match=r"tiny\.gguf: the model is closed"):
            use()
    assert (backend.description, backend.chat_template) == (about, CHAT_TEMPLATE)


def test_close_gives_the_memory_back_at_once(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[str] = []
    for name in ("llama_free", "llama_model_free"):
        monkeypatch.setattr(llama_cpp, name, lambda pointer, name=name: freed.append(name))
    backend = LlamaCppBackend(model_path, threads=1)
    vocabulary = backend.vocabulary
    backend.close()
    assert freed == ["llama_free", "llama_model_free"]
    assert len(vocabulary) > 256


def test_template_and_text_are_told_apart(backend: LlamaCppBackend) -> None:
    vocabulary = backend.vocabulary
    assert backend.chat_template == CHAT_TEMPLATE
    [start, *_] = vocabulary.encode_template("<|im_start|>user\n")
    assert vocabulary.token_bytes[start] == b"<|im_start|>"
    assert start in vocabulary.control_ids
    assert vocabulary.bos_id is not None
    assert vocabulary.token_bytes[vocabulary.bos_id] == b"<|endoftext|>"
    assert vocabulary.bos_id not in vocabulary.encode_template("text")
    assert {vocabulary.token_bytes[i] for i in vocabulary.stop_ids} == {b"<|im_end|>", b"<|endoftext|>"}


def test_load_backend_knows_a_gguf_by_its_first_bytes(model_path: Path, tmp_path: Path) -> None:
    plain = tmp_path / "model"
    plain.symlink_to(model_path)
    backend = load_backend(str(plain), threads=1, batch=2, quantize=None)
    assert isinstance(backend, LlamaCppBackend)
    with pytest.raises(ModelError, match="a GGUF model does not take the option 'quantize'"):
        load_backend(model_path, quantize="4bit")


# Files that are not models, options that do not fit


def test_options_that_llama_cpp_cannot_meet(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="300 sequences at once, which"):
        LlamaCppBackend(model_path, batch=300)
    monkeypatch.setattr(llama_cpp, "llama_supports_gpu_offload", lambda: False)
    with pytest.raises(ModelError, match="built without one"):
        LlamaCppBackend(model_path, gpu_layers=-1)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.gguf: no such model file$"):
        load_backend(tmp_path / "absent.gguf")


def test_not_gguf(tmp_path: Path) -> None:
    path = tmp_path / "page.gguf"
    path.write_text("<html>not found</html>")
    with pytest.raises(ModelError, match=r"page\.gguf: not a GGUF file \(it begins with b'<htm'\)"):
        load_backend(path)


@pytest.mark.parametrize("share", [0.0005, 0.05, 0.5, 0.99])
def test_truncated(model_path: Path, tmp_path: Path, share: float, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cut.gguf"
    content = model_path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match=r"cut\.gguf: the GGUF file is cut off") as error:
        load_backend(path)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_vocabulary_without_weights(tmp_path: Path) -> None:
    path = write_sentencepiece_gguf(tmp_path / "vocabulary.gguf")
    with pytest.raises(ModelError, match="holds a vocabulary but no weights"):
        LlamaCppBackend(path)
    assert len(load_vocabulary(path)) > 256


def test_weights_without_tokenizer(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "nameless.gguf", None)
    with pytest.raises(ModelError, match=r"nameless\.gguf: the model has no tokenizer"):
        LlamaCppBackend(path)


def test_unknown_architecture(tmp_path: Path) -> None:
    path = tmp_path / "future.gguf"
    writer = gguf.GGUFWriter(path, "future")
    writer.add_tensor("token_embd.weight", np.zeros((8, 8), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelError, match="cannot load this model: unknown model architecture: 'future'"):
        LlamaCppBackend(path)


def test_damaged_weights(model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "nan.gguf"
    content = bytearray(model_path.read_bytes())
    content[-4096:] = np.full(1024, np.nan, dtype=np.float32).tobytes()
    path.write_bytes(content)
    backend = LlamaCppBackend(path, threads=1)
    with pytest.raises(ModelError, match="logits are not numbers"):
        backend.forward([Step(0, 0, [1], [[2]])])


# ---- threads


def n_threads_of(backend: LlamaCppBackend) -> str:
    return backend.description["device"]


def test_a_small_model_computes_with_one_thread_by_default(model_path: Path) -> None:
    assert n_threads_of(LlamaCppBackend(model_path)) == "cpu, 1 threads"
    assert n_threads_of(LlamaCppBackend(model_path, threads=2)) == "cpu, 2 threads"


@pytest.mark.parametrize(("free", "expected"), [(1, 1), (2, 2), (4, 4), (6, 4), (16, 8)])
def test_a_larger_model_computes_with_what_is_free(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, expected: int
) -> None:
    monkeypatch.setattr("constrained_ner.backends.llamacpp.backend.ONE_THREAD_BYTES", 0)
    monkeypatch.setattr("constrained_ner.backends.llamacpp.backend.free_threads", lambda: free)
    assert n_threads_of(LlamaCppBackend(model_path)) == f"cpu, {expected} threads"


@pytest.mark.parametrize(
    ("given", "spins", "left"), [({}, "0", None), ({"GOMP_SPINCOUNT": "77"}, "77", "77")]
)
def test_threads_that_wait_give_way_unless_a_policy_was_set(
    given: dict[str, str], spins: str, left: str | None
) -> None:
    """GCC's OpenMP says what it has read when it is loaded, and the environment is then as it was."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("GOMP_", "OMP_", "PYTHONPATH"))}
    environment |= {"OMP_DISPLAY_ENV": "verbose", "PYTHONPATH": os.pathsep.join(sys.path), **given}
    script = "import os, constrained_ner.backends.llamacpp.library; print(os.environ.get('GOMP_SPINCOUNT'))"
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == str(left)
    if "GOMP_SPINCOUNT" in said.stderr:  # a llama.cpp that was built with another OpenMP, or none, is silent
        assert f"GOMP_SPINCOUNT = '{spins}'" in said.stderr


# ---- a model in several files


def split(model: Path, folder: Path, parts: int, *, metadata_alone: bool) -> list[Path]:
    """The files that gguf-split makes of a model; with metadata_alone, the first has no tensors."""
    reader = gguf.GGUFReader(model)
    tensors = list(reader.tensors)
    size = -(-len(tensors) // (parts - metadata_alone))
    shares = [tensors[at : at + size] for at in range(0, len(tensors), size)]
    shares = [[], *shares] if metadata_alone else shares
    paths = [folder / f"s-{n:05d}-of-{len(shares):05d}.gguf" for n in range(1, len(shares) + 1)]
    for number, (path, share) in enumerate(zip(paths, shares, strict=True)):
        writer = gguf.GGUFWriter(path, "llama")
        for field in reader.fields.values() if number == 0 else ():
            if field.name != "general.architecture" and not field.name.startswith("GGUF."):
                inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
                writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", len(shares))
        writer.add_int32("split.tensors.count", len(tensors))
        for tensor in share:
            data = tensor.data
            writer.add_tensor_info(tensor.name, data.shape, data.dtype, data.nbytes, tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in share:
            writer.write_tensor_data(tensor.data)
        writer.close()
    return paths


@pytest.mark.parametrize("metadata_alone", [False, True])
def test_a_gguf_in_several_files_is_read_and_hashed_whole(tmp_path: Path, metadata_alone: bool) -> None:
    whole = write_gguf(tmp_path / "whole.gguf", byte_level_tokenizer())
    paths = split(whole, tmp_path, 3, metadata_alone=metadata_alone)
    scores = []
    hashes = []
    for path in (whole, paths[0]):
        backend = LlamaCppBackend(path, threads=1, context=64)
        backend.prefill([])
        (found,) = backend.forward([Step(0, 0, [40, 50, 60], [[1, 2, 3]] * 3)])
        scores.append([score.logits.tolist() for score in found if score is not None])
        hashes.append(backend.identity["sha256"])
        backend.close()
    assert scores[0] == scores[1]
    changed = bytearray(paths[-1].read_bytes())
    changed[-1] ^= 1
    paths[-1].write_bytes(changed)
    hashes.append(LlamaModel(paths[0], vocab_only=True).sha256)
    assert len(set(hashes)) == 3
    with pytest.raises(ModelError, match="part 2 of 3 of a model; name the first, "):
        LlamaCppBackend(paths[1])
    with pytest.raises(ModelError, match="a model in several files: join them"):
        store_temperature(paths[0], 1.5)
    paths[-1].unlink()
    with pytest.raises(ModelError, match=rf"in 3 files, and {paths[-1].name} is not there"):
        LlamaCppBackend(paths[0])
