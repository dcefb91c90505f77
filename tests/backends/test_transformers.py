"""The real transformers, with models of random weights that are written here."""

from __future__ import annotations

import gc
import importlib.util
import inspect
import json
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from interleavings import check_interleaving
from tiny_models import CHAT_TEMPLATE, byte_level_tokenizer, write_gguf, write_transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from constrained_ner.backends import load_backend  # noqa: E402
from constrained_ner.backends.protocol import Step  # noqa: E402
from constrained_ner.backends.transformers.backend import TransformersBackend  # noqa: E402
from constrained_ner.backends.transformers.scoring import score_on_device  # noqa: E402
from constrained_ner.backends.transformers.vocabulary import vocabulary_of_tokenizer  # noqa: E402
from constrained_ner.errors import MissingExtraError, ModelError  # noqa: E402
from constrained_ner.vocabulary import Vocabulary  # noqa: E402

KINDS = ["llama", "mistral", "gemma2", "gpt2"]
Row = Callable[[tuple[int, ...]], np.ndarray]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = write_transformers(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return get


@pytest.fixture
def backend(folder: Callable[[str], Path]) -> TransformersBackend:
    return TransformersBackend(str(folder("llama")), device="cpu", batch=3)


def from_scratch(path: Path) -> Row:
    """The same folder through transformers itself, without any cache."""
    model = transformers.AutoModelForCausalLM.from_pretrained(path).eval()

    def row(ids: tuple[int, ...]) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = model(torch.tensor([ids]), use_cache=False).logits[0, -1].numpy()
        return logits

    return row


@pytest.mark.parametrize("kind", KINDS)
def test_any_interleaving_gives_the_scores_of_the_kept_tokens(
    folder: Callable[[str], Path], kind: str
) -> None:
    """Sliding windows and capped logits too: the cache has no holes, the head's own rules are kept."""
    backend = TransformersBackend(str(folder(kind)), device="cpu", batch=3)
    row = from_scratch(folder(kind))
    for seed in range(4):
        check_interleaving(backend, row, seed=seed)


def test_long_steps_go_in_pieces(folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from constrained_ner.backends.transformers import backend as module

    monkeypatch.setattr(module, "_N_PIECE", 3)
    monkeypatch.setattr(module, "_N_BATCH", 8)
    monkeypatch.setattr(module, "_N_LOGITS", 1000)
    backend = TransformersBackend(str(folder("llama")), device="cpu", batch=3)
    for seed in range(3):
        check_interleaving(backend, from_scratch(folder("llama")), seed=seed)


def test_only_watched_positions_reach_the_output_layer(backend: TransformersBackend) -> None:
    seen: list[tuple[int, ...]] = []
    head = backend.loaded.model.get_output_embeddings()
    head.register_forward_hook(lambda _module, inputs, _output: seen.append(tuple(inputs[0].shape)))
    backend.prefill(range(20))
    backend.forward([Step(0, 0, [1, 2, 3, 4], [None, [5], None, ()]), Step(2, 0, [1, 2], [None, [1]])])
    assert seen == [(1, 1, 32), (1, 3, 32)]


def test_a_failed_pass_leaves_a_usable_back_end(
    backend: TransformersBackend, folder: Callable[[str], Path]
) -> None:
    backend.prefill([1, 2])
    backend.forward([Step(0, 0, [3, 4], [None, None])])
    with pytest.raises(IndexError):
        backend.forward([Step(0, 1, [10**6], [()])])
    [[scores]] = backend.forward([Step(0, 1, [5], [[7]])])
    assert scores is not None
    expected = from_scratch(folder("llama"))((1, 2, 3, 5))[7]
    np.testing.assert_allclose(scores.logits, [expected], atol=1e-4)


def test_a_common_beginning_of_prefixes_is_not_computed_again(backend: TransformersBackend) -> None:
    n_tokens: list[int] = []
    backend.loaded.model.get_input_embeddings().register_forward_hook(
        lambda _module, inputs, _output: n_tokens.append(inputs[0].numel())
    )
    backend.prefill([1, 2, 3, 4])
    backend.prefill([1, 2, 3, 9, 9])
    assert n_tokens == [4, 2]


def test_score_on_device_agrees_with_numpy() -> None:
    from constrained_ner.backends.scoring import score_rows

    rows = np.random.default_rng(0).standard_normal((5, 700)).astype(np.float32)
    rows[2, [3, 600]] = 9  # equal: the lowest id is best
    watches = [[1, 2], [], [699], [0, 0, 5], ()]
    for summaries in ([True] * 5, [False] * 5, [False, True, True, False, False]):
        ours = score_rows(rows, watches, summaries)
        theirs = score_on_device(torch.from_numpy(rows), watches, summaries)
        for one, other, summary in zip(ours, theirs, summaries, strict=True):
            np.testing.assert_array_equal(one.logits, other.logits)
            assert one.best == other.best
            assert (one.best is not None) == (one.logsumexp is not None) == summary
            if summary:
                assert one.logsumexp == pytest.approx(other.logsumexp, abs=1e-5)
    for watch, summary in (([1], True), ([1], False), ([], True)):
        with pytest.raises(ModelError, match="not numbers"):
            score_on_device(torch.full((1, 3), torch.nan), [watch], [summary])
        with pytest.raises(ModelError, match="not numbers"):
            score_rows(np.full((1, 3), np.nan, dtype=np.float32), [watch], [summary])


def test_facts_of_the_model(backend: TransformersBackend, folder: Callable[[str], Path]) -> None:
    assert backend.context_length == 256
    assert backend.chat_template == CHAT_TEMPLATE
    about = backend.description
    assert about["name"] == str(folder("llama"))
    assert (about["precision"], about["device"], len(about["sha256"])) == ("float32", "cpu", 64)
    assert backend.identity.items() < about.items()
    assert set(backend.identity) == {"backend", "sha256", "precision", "device"}
    assert (backend.temperature, backend.adapter_card, backend.base_model) == (None, None, None)
    other = load_backend(folder("llama"), device="cpu", context=12, dtype="bfloat16")
    assert (other.context_length, other.description["precision"]) == (12, "bfloat16")


def test_close_frees_the_model_and_keeps_the_vocabulary(backend: TransformersBackend) -> None:
    vocabulary, about = backend.vocabulary, backend.description
    model = weakref.ref(backend.loaded.model)
    backend.close()
    backend.close()
    gc.collect()
    assert model() is None
    assert vocabulary.decode(vocabulary.encode("aspirin")) == b"aspirin"
    assert (backend.description, backend.chat_template) == (about, CHAT_TEMPLATE)
    with pytest.raises(ModelError, match="the model is closed"):
        backend.forward([Step(0, 0, [1], [None])])


def test_the_cache_goes_by_the_name_that_the_model_gives_it(backend: TransformersBackend) -> None:
    """`past_key_values` up to transformers 5.23, `cache` from 5.24 on; both are accepted for a while."""
    forward, given = backend.loaded.model.forward, []

    def old_forward(past_key_values: Any = None, **arguments: Any) -> Any:
        given.append(past_key_values)
        if "cache" in inspect.signature(forward).parameters:
            return forward(cache=past_key_values, **arguments)
        return forward(past_key_values=past_key_values, **arguments)

    backend.prefill([1, 2])
    [[expected]] = backend.forward([Step(0, 0, [3], [[5, 6]])])
    backend.loaded.model.forward = old_forward
    older = TransformersBackend.around(backend.loaded)
    older.prefill([1, 2])
    [[scores]] = older.forward([Step(0, 0, [3], [[5, 6]])])
    assert len(given) == 2
    assert None not in given
    assert scores is not None
    assert expected is not None
    np.testing.assert_array_equal(scores.logits, expected.logits)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft 0.21 calls what transformers 5.23 deprecates
def test_an_adapter_changes_the_scores_as_peft_says(folder: Callable[[str], Path], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    base = transformers.AutoModelForCausalLM.from_pretrained(folder("llama"))
    torch.manual_seed(1)
    settings_of_lora = peft.LoraConfig(
        r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    adapted = peft.get_peft_model(base, settings_of_lora).eval()
    adapted.save_pretrained(tmp_path / "adapter")
    backend = TransformersBackend(str(folder("llama")), adapter=str(tmp_path / "adapter"), device="cpu")
    [[scores]] = backend.forward([Step(0, 0, [1], [range(20)])])
    with torch.inference_mode():
        expected = adapted(torch.tensor([[1]])).logits[0, -1, :20].numpy()
    assert scores is not None
    np.testing.assert_allclose(scores.logits, expected, atol=1e-4)
    plain = from_scratch(folder("llama"))((1,))[:20]
    assert np.abs(scores.logits - plain).max() > 0.01
    assert backend.description["adapter"] == str(tmp_path / "adapter")
    assert len(backend.identity["adapter_sha256"]) == 64
    assert "adapter" not in backend.identity
    with pytest.raises(ModelError, match="an adapter, not a model"):
        load_backend(tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no weights \(adapter_model\.safetensors\)"):
        load_backend(folder("llama"), adapter=str(tmp_path / "adapter"))


# The vocabulary


def wrapped(tokenizer: Tokenizer, **options: Any) -> Any:
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)


@pytest.fixture(scope="module")
def byte_level() -> Vocabulary:
    return vocabulary_of_tokenizer(
        wrapped(byte_level_tokenizer(), eos_token="<|im_end|>", chat_template=CHAT_TEMPLATE)
    )


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    """The same tokenizer as llama.cpp reads it."""
    from constrained_ner.backends.llamacpp.vocabulary import load_vocabulary

    return load_vocabulary(write_gguf(tmp_path_factory.mktemp("twin") / "t.gguf", byte_level_tokenizer()))


def sentencepiece_tokenizer() -> Tokenizer:
    """As Llama 2's tokenizer.json has it: a prepended blank, blanks as U+2581, byte tokens for the rest."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["\u2581", "a", "s", "p", "i", "r", "n", "\u2581a", "as", "\u2581as", "pi", "ri", "rin", "é"]
    merges = [("\u2581", "a"), ("a", "s"), ("\u2581a", "s"), ("p", "i"), ("r", "i"), ("ri", "n")]
    model = models.BPE(
        vocab={piece: n for n, piece in enumerate(pieces)},
        merges=merges,
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.add_tokens([AddedToken("<|user|>", special=False, normalized=False)])
    return tokenizer


@pytest.fixture(scope="module")
def sentencepiece() -> Vocabulary:
    return vocabulary_of_tokenizer(wrapped(sentencepiece_tokenizer(), eos_token="</s>", unk_token="<unk>"))


TEXTS = st.lists(
    st.one_of(
        st.text(max_size=12),
        st.text(alphabet="ab <>|\né🙂\u0301\u2581", max_size=8),
        st.sampled_from(
            ["<|im_start|>", "<|im_end|>", "<think>", "<td>", "</s>", "<s>", "<unk>", "<|user|>"]
        ),
    ),
    max_size=5,
).map("".join)


@pytest.mark.parametrize("kind", ["byte_level", "sentencepiece"])
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(text=TEXTS)
def test_text_is_verbatim_and_never_control(request: pytest.FixtureRequest, kind: str, text: str) -> None:
    vocabulary: Vocabulary = request.getfixturevalue(kind)
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text.encode()
    assert vocabulary.control_ids.isdisjoint(ids)


def test_llama_cpp_reads_the_same_tokenizer_alike(byte_level: Vocabulary, twin: Vocabulary) -> None:
    assert byte_level.token_bytes == twin.token_bytes
    assert byte_level.control_ids == twin.control_ids
    assert byte_level.stop_ids == twin.stop_ids
    assert byte_level.leading_space == twin.leading_space


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(text=TEXTS)
def test_llama_cpp_gives_the_same_ids(byte_level: Vocabulary, twin: Vocabulary, text: str) -> None:
    assert byte_level.encode(text) == twin.encode(text)
    assert byte_level.encode_template(text) == twin.encode_template(text)


def test_added_tokens(byte_level: Vocabulary) -> None:
    def spelt(ids: list[int]) -> list[bytes]:
        return [byte_level.token_bytes[i] for i in ids]

    assert spelt(byte_level.encode_template("<|im_start|><think>")) == [b"<|im_start|>", b"<think>"]
    assert spelt(byte_level.encode("<td>\n\n\n")) == [b"<td>", b"\n\n\n"]
    assert b"".join(spelt(byte_level.encode("<think>"))) == b"<think>"
    assert len(byte_level.encode("<think>")) > 1


def test_sentencepiece_pieces(sentencepiece: Vocabulary) -> None:
    assert sentencepiece.leading_space
    assert [sentencepiece.token_bytes[i] for i in sentencepiece.encode(" as\n")] == [b" as", b"\n"]
    assert [sentencepiece.token_bytes[i] for i in sentencepiece.encode("as")] == [b"as"]
    assert sentencepiece.bos_id is None


def test_bos_is_what_the_tokenizer_writes_by_itself() -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = byte_level_tokenizer()
    bos = tokenizer.token_to_id("<|endoftext|>")
    tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", bos)]
    )
    assert vocabulary_of_tokenizer(wrapped(tokenizer, bos_token="<|endoftext|>")).bos_id == bos
    silent = wrapped(byte_level_tokenizer(), bos_token="<|endoftext|>")
    assert vocabulary_of_tokenizer(silent).bos_id is None


def test_padded_output_rows_are_control_ids(byte_level: Vocabulary) -> None:
    n_tokens = len(byte_level)
    padded = vocabulary_of_tokenizer(wrapped(byte_level_tokenizer()), n_tokens=n_tokens + 3)
    assert len(padded) == n_tokens + 3
    assert {n_tokens, n_tokens + 1, n_tokens + 2} <= padded.control_ids
    with pytest.raises(ModelError, match=rf"has token {n_tokens - 1}, the model only 9 outputs"):
        vocabulary_of_tokenizer(wrapped(byte_level_tokenizer()), n_tokens=9)


def test_metaspace_is_read_too() -> None:
    tokenizer = Tokenizer(
        models.Unigram([("<unk>", 0.0), ("\u2581", -2.0), ("a", -1.0), ("\u2581a", -1.5)], 0)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    vocabulary = vocabulary_of_tokenizer(wrapped(tokenizer, unk_token="<unk>"))
    assert vocabulary.leading_space
    assert vocabulary.token_bytes[1:] == (b" ", b"a", b" a")
    assert vocabulary.decode(vocabulary.encode(" aa")) == b" aa"
    with pytest.raises(ValueError, match="is in no token"):
        vocabulary.encode("b")


def test_a_tokenizer_that_loses_blanks_is_refused() -> None:
    tokenizer = Tokenizer(models.WordPiece(vocab={"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer.decoder = decoders.WordPiece()
    with pytest.raises(ModelError, match="WordPiece loses blanks and cannot copy a text verbatim"):
        vocabulary_of_tokenizer(wrapped(tokenizer))


# What cannot be loaded


@pytest.fixture
def copied(folder: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder("llama"), tmp_path / "model"))


def one_line(path: Path | str, **options: Any) -> str:
    with pytest.raises(ModelError) as error:
        load_backend(path, **options)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(f"{path}: ")


def test_missing_path(tmp_path: Path) -> None:
    assert one_line(tmp_path / "absent") == "no such model file or folder"
    assert one_line("./absent") == "no such model file or folder"


def test_not_a_model_folder(tmp_path: Path) -> None:
    assert one_line(tmp_path) == "not a model folder (no config.json)"
    (tmp_path / "notes.txt").write_text("hello")
    assert one_line(tmp_path / "notes.txt") == "neither a GGUF file nor a model folder"


@pytest.mark.parametrize("pattern", ["*.safetensors", "tokenizer.json", "config.json"])
def test_a_git_lfs_pointer_is_named(copied: Path, pattern: str) -> None:
    (path,) = copied.glob(pattern)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(
        ModelError, match="a Git LFS pointer, not the file itself; fetch it with: git lfs pull"
    ):
        TransformersBackend(str(copied))


def test_pickled_weights(copied: Path) -> None:
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    assert one_line(copied).startswith("the weights are a pickle (pytorch_model.bin), which can run code")


def test_no_weights(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    assert one_line(copied) == "no weights (*.safetensors) in the model folder"


def test_truncated_weights(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:3000])
    assert one_line(copied).startswith("cannot be loaded: ")


def test_missing_tensors(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    assert one_line(copied) == (
        "1 tensors are missing from the weights, for instance model.layers.1.mlp.up_proj.weight"
    )


def test_broken_configuration(copied: Path) -> None:
    (copied / "config.json").write_text("{")
    assert one_line(copied).startswith("cannot be loaded: ")
    (copied / "config.json").write_text('{"model_type": "nonsense"}')
    assert "nonsense" in one_line(copied)


@pytest.mark.parametrize("architecture", ["BertForMaskedLM", "LlamaModel"])
def test_not_a_causal_model(copied: Path, architecture: str) -> None:
    config = json.loads((copied / "config.json").read_text())
    config["architectures"] = [architecture]
    (copied / "config.json").write_text(json.dumps(config))
    expected = f"a {architecture} is not a causal language model, so it cannot write an answer"
    assert one_line(copied) == expected


def test_recurrent_model(folder: Callable[[str], Path], tmp_path: Path) -> None:
    config = transformers.MambaConfig(
        vocab_size=byte_level_tokenizer().get_vocab_size(), hidden_size=16, num_hidden_layers=1
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "mamba")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder("llama") / name, tmp_path / "mamba")
    assert "cannot take back tokens" in one_line(tmp_path / "mamba")


def test_hub_id_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert one_line("nobody/no-such-model").startswith(
        "no such model on the hub, or the hub cannot be reached"
    )


def test_not_an_adapter(folder: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent: no such adapter folder"):
        load_backend(folder("llama"), adapter=str(tmp_path / "absent"))
    with pytest.raises(ModelError, match=r"not an adapter folder \(no adapter_config\.json\)"):
        load_backend(folder("llama"), adapter=str(tmp_path))


def test_no_graphics_card(folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match=r"device is 'cuda', but torch .* finds no CUDA device"):
        load_backend(folder("llama"), device="cuda")
    with pytest.raises(ModelError, match="device is 'abacus'"):
        load_backend(folder("llama"), device="abacus")


def test_unknown_values(folder: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match="dtype is 'int8'"):
        load_backend(folder("llama"), dtype="int8")
    with pytest.raises(ModelError, match="quantize is '2bit'"):
        load_backend(folder("llama"), quantize="2bit")
    with pytest.raises(ModelError, match="does not take the option 'gpu_layers'"):
        load_backend(folder("llama"), gpu_layers=3)


def test_missing_extra_names_the_pip_line(
    folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'constrained-ner\[quantize\]'"):
        load_backend(folder("llama"), quantize="4bit")
    with pytest.raises(MissingExtraError, match=r"peft is not installed: pip install"):
        load_backend(folder("llama"), adapter="some/adapter")


def test_threads_are_those_of_torch(folder: Callable[[str], Path]) -> None:
    load_backend(folder("llama"), device="cpu", threads=2).close()
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
