"""Exports models of every family: llama.cpp computes the same as transformers, from the same token ids."""

from __future__ import annotations

import json
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

peft = pytest.importorskip("peft")
gguf = pytest.importorskip("gguf")
llama_cpp = pytest.importorskip("llama_cpp")

import tiny_instruct  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from exportable_models import (  # noqa: E402
    CHAT_TEMPLATE,
    LLAMA3_WORDS,
    QWEN2_WORDS,
    TEKKEN_WORDS,
    sentencepiece_tokenizer,
    word_tokenizer,
    write_model,
)
from full_disk import file_size_limit  # noqa: E402
from gguf_tokenizers import read_metadata  # noqa: E402
from hard_texts import HARD_TEXTS  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_models import byte_level_tokenizer, write_transformers  # noqa: E402
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: E402

from constrained_ner.adapters import AdapterCard  # noqa: E402
from constrained_ner.annotation.annotator import Annotator  # noqa: E402
from constrained_ner.backends import load_backend  # noqa: E402
from constrained_ner.backends.llamacpp.backend import LlamaCppBackend  # noqa: E402
from constrained_ner.backends.llamacpp.model import ADAPTER_KEY, LlamaModel  # noqa: E402
from constrained_ner.backends.llamacpp.vocabulary import load_vocabulary  # noqa: E402
from constrained_ner.backends.protocol import LogitsBackend, Scores, Step  # noqa: E402
from constrained_ner.backends.temperature import TEMPERATURE_KEY, store_temperature  # noqa: E402
from constrained_ner.backends.transformers.backend import TransformersBackend, vocabulary_of_tokenizer  # noqa: E402
from constrained_ner.backends.transformers.model import hash_of_folder  # noqa: E402
from constrained_ner.cli import annotate, export_gguf  # noqa: E402
from constrained_ner.data import Sentence  # noqa: E402
from constrained_ner.errors import ModelError, OutputError  # noqa: E402
from constrained_ner.export import gguf as gguf_file  # noqa: E402
from constrained_ner.export import tokenizer  # noqa: E402
from constrained_ner.export.families import FAMILIES  # noqa: E402
from constrained_ner.export.to_gguf import export_lora, export_model  # noqa: E402
from constrained_ner.export.tokenizer import add_tokenizer  # noqa: E402
from constrained_ner.export.verify import TEXTS  # noqa: E402
from constrained_ner.files import file_hash  # noqa: E402
from constrained_ner.prompting.wording import PromptFile  # noqa: E402
from constrained_ner.schema import DDI  # noqa: E402
from constrained_ner.training.bundled_model.tokenizer import CHEMICAL  # noqa: E402

KINDS = list(FAMILIES)
IDS = torch.randint(3, 300, (40,), generator=torch.Generator().manual_seed(0)).tolist()
N_SKIPPED = 3  # positions that are computed as a shared prefix, unwatched

ModelOf = Callable[[str], Path]


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> ModelOf:
    """Return the folder of a tiny model of a kind; each is made once."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = write_model(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return folder


def logits_of(backend: LogitsBackend, ids: Sequence[int] = IDS) -> NDArray[np.float32]:
    """Shape: (positions after the first N_SKIPPED, tokens)."""
    backend.prefill(ids[:N_SKIPPED])
    every = range(len(backend.vocabulary))
    watched = list(ids[N_SKIPPED:])
    [answers] = backend.forward([Step(0, 0, watched, [every] * len(watched))])
    backend.close()
    return np.stack([scores.logits for scores in answers if isinstance(scores, Scores)])


def gguf_logits(path: Path, **options: Any) -> NDArray[np.float32]:
    return logits_of(LlamaCppBackend(path, threads=1, **options))


def expected_logits(folder: Path, adapter: Path | None = None) -> NDArray[np.float32]:
    """transformers in float32, an adapter merged by peft."""
    return logits_of(TransformersBackend(str(folder), adapter=adapter and str(adapter), device="cpu"))


def assert_equal(got: NDArray[np.float32], expected: NDArray[np.float32], kind: str, precision: str) -> None:
    """Check that logits are close, and that the best token is the same unless it is nearly tied.

    ggml looks up the GELU of the Gemma family in a float16 table, whatever the precision of the file.
    """
    tolerance = 0.02 if kind.startswith("gemma") else 0.01 if precision == "f16" else 1e-4
    np.testing.assert_allclose(got, expected, atol=tolerance)
    top = np.sort(expected, axis=-1)
    decided = top[:, -1] - top[:, -2] > 2 * tolerance
    assert decided.mean() > 0.5
    assert (got.argmax(-1) == expected.argmax(-1))[decided].all()


def write_adapter(folder: Path, base: Path, **settings: Any) -> Path:
    """Write a LoRA with random weights in both factors, so that it has a large effect."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(1)
    chosen = {"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "init_lora_weights": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # among libraries
        adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **chosen | settings))
    for name in settings.get("modules_to_save") or ():
        for parameter_name, weights in adapted.named_parameters():
            if f"{name}.modules_to_save" in parameter_name:
                weights.data.add_(0.05 * torch.randn(weights.shape))
    adapted.save_pretrained(folder)
    return folder


# ---- the same numbers


@pytest.mark.parametrize("kind", KINDS)
def test_logits(model_of: ModelOf, kind: str, tmp_path: Path) -> None:
    expected = expected_logits(model_of(kind))
    for precision in ("f32", "f16"):
        path = tmp_path / f"{precision}.gguf"
        export_model(str(model_of(kind)), path, type=precision)  # type: ignore[arg-type]
        assert_equal(gguf_logits(path), expected, kind, precision)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["f16.gguf", "f32.gguf"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_merged_and_as_a_lora(model_of: ModelOf, kind: str, tmp_path: Path) -> None:
    base = model_of(kind)
    adapter = write_adapter(tmp_path / "adapter", base)
    plain, merged, lora = (tmp_path / f"{name}.gguf" for name in ("plain", "merged", "lora"))
    export_model(str(base), plain, type="f32")
    export_model(str(base), merged, type="f32", adapter=str(adapter))
    export_lora(str(base), str(adapter), lora)
    expected = expected_logits(base, adapter)
    assert np.abs(expected - expected_logits(base)).max() > 1
    assert_equal(gguf_logits(merged), expected, kind, "f32")
    assert_equal(gguf_logits(plain, lora=lora), expected, kind, "f32")


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
@pytest.mark.parametrize(
    "settings",
    [
        {"use_rslora": True},
        {"alpha_pattern": {"q_proj": 9}, "rank_pattern": {"layers.1.mlp.down_proj": 2}},
        {"target_modules": ["q_proj", "lm_head"]},
    ],
)
def test_every_adapted_weight_has_its_own_scale(
    model_of: ModelOf, settings: dict[str, Any], tmp_path: Path
) -> None:
    base = model_of("llama")
    adapter = write_adapter(tmp_path / "adapter", base, **settings)
    export_model(str(base), tmp_path / "plain.gguf", type="f32")
    export_model(str(base), tmp_path / "merged.gguf", type="f32", adapter=str(adapter))
    export_lora(str(base), str(adapter), tmp_path / "lora.gguf")
    expected = expected_logits(base, adapter)
    assert_equal(gguf_logits(tmp_path / "merged.gguf"), expected, "llama", "f32")
    assert_equal(gguf_logits(tmp_path / "plain.gguf", lora=tmp_path / "lora.gguf"), expected, "llama", "f32")


@pytest.mark.filterwarnings("ignore::UserWarning")  # peft's, about tied weights
@pytest.mark.parametrize(
    ("kind", "saved"),
    [("llama", ["embed_tokens", "lm_head"]), ("llama", ["embed_tokens"]), ("qwen2", ["embed_tokens"])],
)
def test_weights_that_an_adapter_replaces(
    model_of: ModelOf, kind: str, saved: list[str], tmp_path: Path
) -> None:
    base = model_of(kind)
    adapter = write_adapter(
        tmp_path / "adapter", base, target_modules=["v_proj", "gate_proj"], modules_to_save=saved
    )
    export_model(str(base), tmp_path / "merged.gguf", type="f32", adapter=str(adapter))
    assert_equal(gguf_logits(tmp_path / "merged.gguf"), expected_logits(base, adapter), kind, "f32")
    with pytest.raises(
        ModelError, match=r"replaces .*(embed_tokens|lm_head)\.weight, which a GGUF LoRA cannot do"
    ):
        export_lora(str(base), str(adapter), tmp_path / "lora.gguf")
    assert not (tmp_path / "lora.gguf").exists()


ROTATIONS = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        *(("llama", {"rope_parameters": {"rope_theta": 100.0, **value}}) for value in ROTATIONS.values()),
        ("qwen2", {"rope_parameters": {"rope_theta": 100.0, **ROTATIONS["yarn"]}}),
        ("llama", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
        ("mistral", {"num_key_value_heads": 4, "head_dim": 24}),
    ],
)
def test_settings_of_the_configuration(kind: str, changes: dict[str, Any], tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", kind, **changes)
    export_model(str(base), tmp_path / "x.gguf", type="f32")
    assert_equal(gguf_logits(tmp_path / "x.gguf"), expected_logits(base), kind, "f32")


def test_an_unsupported_window_limits_the_context(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", "mistral", sliding_window=48)
    written = export_model(str(base), tmp_path / "x.gguf", type="f32")
    assert written.notes == (
        "llama.cpp's llama has no sliding window, so the context is limited to the window: "
        "48 tokens instead of 1024",
    )
    backend = LlamaCppBackend(tmp_path / "x.gguf", threads=1)
    assert backend.context_length == 48
    assert_equal(logits_of(backend), expected_logits(base), "mistral", "f32")


def test_shards_are_read_as_one(model_of: ModelOf, tmp_path: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(model_of("llama"))
    transformers.AutoTokenizer.from_pretrained(model_of("llama")).save_pretrained(tmp_path / "shards")
    model.save_pretrained(tmp_path / "shards", max_shard_size="50KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    export_model(str(model_of("llama")), tmp_path / "one.gguf")
    export_model(str(tmp_path / "shards"), tmp_path / "many.gguf")
    one, many = (gguf.GGUFReader(tmp_path / name) for name in ("one.gguf", "many.gguf"))
    for left, right in zip(one.tensors, many.tensors, strict=True):
        assert (left.name, left.data.tobytes()) == (right.name, right.data.tobytes())


# ---- smaller types


def test_q8_0_and_bf16(model_of: ModelOf, tmp_path: Path) -> None:
    expected = expected_logits(model_of("llama"))
    # Most rows have 48 numbers, one and a half blocks of 32, so they stay in float16.
    written = export_model(str(model_of("llama")), tmp_path / "q8.gguf", type="q8_0")
    assert written.kinds == {"F16": 12, "F32": 5, "Q8_0": 4}
    np.testing.assert_allclose(gguf_logits(tmp_path / "q8.gguf"), expected, atol=0.2)
    written = export_model(str(model_of("llama")), tmp_path / "bf16.gguf", type="bf16")
    assert written.kinds == {"BF16": 16, "F32": 5}
    np.testing.assert_allclose(gguf_logits(tmp_path / "bf16.gguf"), expected, atol=0.2)


def test_q4_k_m(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", "llama", wide=True)
    adapter = write_adapter(tmp_path / "adapter", base)
    path = tmp_path / "x.gguf"
    written = export_model(str(base), path, type="q4_k_m", adapter=str(adapter), threads=1)
    assert written.kinds.keys() == {"Q4_K", "Q6_K", "F32"}
    assert written.kinds["Q4_K"] > written.kinds["Q6_K"]
    reader = gguf.GGUFReader(path)
    assert reader.fields["general.file_type"].contents() == gguf.LlamaFileType.MOSTLY_Q4_K_M
    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter", "base", "x.gguf"]
    expected, got = expected_logits(base, adapter), gguf_logits(path)
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.8  # random weights tolerate rounding badly
    export_model(str(base), tmp_path / "exact.gguf", type="f32", adapter=str(adapter))
    exact = {tensor.name: tensor.data for tensor in gguf.GGUFReader(tmp_path / "exact.gguf").tensors}
    assert exact.keys() == {tensor.name for tensor in reader.tensors}
    for tensor in reader.tensors:
        weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        error = np.abs(weights - exact[tensor.name]).mean()
        assert error < 0.1 * np.abs(exact[tensor.name]).mean()


# ---- the same tokens, and the same mentions


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen3", "gemma2"])
def test_mentions_and_token_ids(
    model_of: ModelOf, gold: dict[str, list[Sentence]], kind: str, tmp_path: Path
) -> None:
    base = model_of(kind)
    adapter = write_adapter(tmp_path / "adapter", base)
    export_model(str(base), tmp_path / "merged.gguf", adapter=str(adapter))
    sentences = [s.with_mentions(()) for s in gold["devel"] if 20 < len(s.text) < 80][::14][:20]
    there = Annotator.load(str(base), adapter=str(adapter), device="cpu")
    here = Annotator.load(tmp_path / "merged.gguf", threads=1)
    assert here.backend.chat_template == there.backend.chat_template
    assert here._prompt.prefix_ids == there._prompt.prefix_ids
    for sentence in sentences:
        assert here._prompt.ids(sentence.text) == there._prompt.ids(sentence.text)
    pairs = list(zip(here.run(sentences), there.run(sentences), strict=True))
    assert all(one.failure is None and other.failure is None for one, other in pairs)
    mentions = [(spans(one.sentence), spans(other.sentence)) for one, other in pairs]
    assert sum(len(one) for one, _ in mentions) > 10
    # Random weights make close decisions, and float16 tips some of them.
    assert sum(one == other for one, other in mentions) >= len(mentions) - 2
    here.close()
    there.close()


def spans(sentence: Sentence) -> list[tuple[int, int, str]]:
    return [(mention.start, mention.end, mention.type) for mention in sentence.mentions]


TOKENIZERS = {
    "gpt-2": byte_level_tokenizer,
    "llama-bpe": lambda: word_tokenizer(LLAMA3_WORDS, ignore_merges=True),
    "smaug-bpe": lambda: word_tokenizer(LLAMA3_WORDS),
    "tekken": lambda: word_tokenizer(TEKKEN_WORDS, ignore_merges=True),
    "smollm": lambda: with_digits(byte_level_tokenizer()),
}


def with_digits(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return tokenizer


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_way_of_splitting_words_is_recognised(name: str, tmp_path: Path) -> None:
    base = write_transformers(tmp_path / "base", "llama", TOKENIZERS[name]())
    export_model(str(base), tmp_path / "x.gguf")
    assert read_metadata(tmp_path / "x.gguf")["tokenizer.ggml.pre"] == name


def test_a_normalising_tokenizer_is_still_read_verbatim(model_of: ModelOf, tmp_path: Path) -> None:
    export_model(str(model_of("qwen2")), tmp_path / "x.gguf")
    vocabulary = load_vocabulary(tmp_path / "x.gguf")
    assert vocabulary.decode(vocabulary.encode("e\u0301")) == "e\u0301".encode()


def test_llama_2_s_vocabulary(shared: Path, tmp_path: Path) -> None:
    """32,000 real pieces: deriving merges from scores and scores from merges keeps the token ids."""
    source = shared / "vocab" / "ggml-vocab-llama-spm.gguf"
    pieces, scores, controls = pieces_of(LlamaModel(source, vocab_only=True))
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=sentencepiece_of(pieces, scores, controls),
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
    )
    vocabulary = vocabulary_of_tokenizer(wrapped)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    for name in ("context_length", "embedding_length", "block_count", "feed_forward_length"):
        writer.add_uint32(f"llama.{name}", 64)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    add_tokenizer(writer, wrapped, vocabulary, None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    original, written = load_vocabulary(source), load_vocabulary(tmp_path / "x.gguf")
    for text in (*TEXTS, *HARD_TEXTS):
        assert written.encode(text) == original.encode(text) == vocabulary.encode(text)


def test_qwen_2_s_vocabulary(shared: Path) -> None:
    """151,936 real pieces and a tokenizer that composes characters: same ids as llama.cpp."""
    source = shared / "vocab" / "ggml-vocab-qwen2.gguf"
    fields = read_metadata(source)
    pieces, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    normal = {piece: i for i, piece in enumerate(pieces) if kinds[i] == gguf.TokenType.NORMAL}
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    fast = Tokenizer(models.BPE(vocab=normal, merges=merges))
    fast.normalizer = normalizers.NFC()
    fast.pre_tokenizer = word_tokenizer(QWEN2_WORDS).pre_tokenizer
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens(
        [AddedToken(piece, special=True, normalized=False) for piece in pieces if piece not in normal]
    )
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=fast, eos_token="<|endoftext|>")
    vocabulary, original = vocabulary_of_tokenizer(wrapped), load_vocabulary(source)
    for text in (*TEXTS, *HARD_TEXTS):
        assert vocabulary.encode(text) == original.encode(text)


def pieces_of(model: LlamaModel) -> tuple[list[str], list[float], list[str]]:
    ids = range(llama_cpp.llama_vocab_n_tokens(model.vocab))
    pieces = [llama_cpp.llama_vocab_get_text(model.vocab, i).decode() for i in ids]
    return pieces, [llama_cpp.llama_vocab_get_score(model.vocab, i) for i in ids], pieces[:3]


def sentencepiece_of(pieces: list[str], scores: list[float], controls: list[str]) -> Tokenizer:
    """Convert SentencePiece as transformers does: every split of a piece is a merge, ranked by the piece."""
    ids = {piece: token_id for token_id, piece in enumerate(pieces)}
    merges = []
    for token_id, piece in enumerate(pieces):
        if piece not in controls and not (len(piece) == 6 and piece.startswith("<0x")):
            halves = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
            known = [(left, right) for left, right in halves if left in ids and right in ids]
            merges += [(-scores[token_id], token_id, ids[left], left, right) for left, right in known]
    bpe = models.BPE(
        vocab=ids, merges=[merge[3:] for merge in sorted(merges)], byte_fallback=True, unk_token="<unk>"
    )
    tokenizer = Tokenizer(bpe)
    tokenizer.normalizer = sentencepiece_tokenizer().normalizer
    tokenizer.decoder = sentencepiece_tokenizer().decoder
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in controls])
    return tokenizer


# ---- unsupported models, and mistakes


def test_other_kinds_of_models(tmp_path: Path) -> None:
    base = write_transformers(tmp_path / "base", "gpt2")
    hint = r"gpt2 models cannot be exported here; .*: python convert_hf_to_gguf\.py .*base --outfile x\.gguf$"
    with pytest.raises(ModelError, match=hint):
        export_model(str(base), Path("x.gguf"))


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("llama", {"hidden_act": "gelu"}, "its activation is gelu, which llama.cpp's llama does not support"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            "its rotation is scaled by the method dynamic",
        ),
        ("qwen3", {"attention_bias": True}, "its attention has biases"),
        ("gemma2", {"query_pre_attn_scalar": 5}, "query_pre_attn_scalar 5, but llama.cpp assumes 16"),
        ("gemma2", {"layer_types": ["full_attention"] * 3}, "sliding windows in other layers"),
        ("gemma2", {"final_logit_softcapping": None}, "without soft caps"),
    ],
)
def test_configurations_that_llama_cpp_does_not_support(
    kind: str, changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    base = write_model(tmp_path / "base", kind, **changes)
    with pytest.raises(ModelError, match=re.escape(reason)):
        export_model(str(base), tmp_path / "x.gguf")
    assert not list(tmp_path.glob("x.gguf*"))


def test_unknown_ways_of_splitting_words(tmp_path: Path) -> None:
    cases = {
        r"splits text in an unknown way, .*: \\w\+": word_tokenizer(r"\w+"),
        "a tokenizer of type WordLevel, but only BPE": Tokenizer(
            models.WordLevel({"a": 0, "<|im_end|>": 1}, unk_token="a")
        ),
    }
    for n, (reason, one) in enumerate(cases.items()):
        one.decoder = byte_level_tokenizer().decoder
        base = write_transformers(tmp_path / str(n), "llama", one)
        with pytest.raises(ModelError, match=reason):
            export_model(str(base), tmp_path / "x.gguf")


def test_a_file_with_another_tokenisation_is_not_kept(
    model_of: ModelOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "pre_tokenizer_name", lambda *_: "smollm")
    (tmp_path / "x.gguf").write_text("an earlier one")
    with pytest.raises(
        ModelError, match=r"does not tokenise .* so the file is not kept: .* instead of .* from"
    ):
        export_model(str(model_of("llama")), tmp_path / "x.gguf")
    assert [file.name for file in tmp_path.iterdir()] == ["x.gguf"]
    assert (tmp_path / "x.gguf").read_text() == "an earlier one"


def changed_weights(base: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    shutil.copytree(base, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda w: w.pop("model.layers.1.mlp.up_proj.weight"),
            r"1 tensors are missing from the weights, .*up_proj",
        ),
        (lambda w: w["model.norm.weight"].fill_(float("nan")), "output_norm.weight: some weights are NaN"),
        (
            lambda w: w["lm_head.weight"].fill_(1e6),
            r"output\.weight: 1e\+06 is too large for float16; choose",
        ),
        (
            lambda w: w.update({"lm_head.weight": torch.zeros(5, 48)}),
            r"lm_head\.weight has the shape \(5, 48\), but the configuration says",
        ),
        (
            lambda w: w.update({"lm_head.weight": w["lm_head.weight"].to(torch.int8)}),
            r"lm_head\.weight is torch\.int8",
        ),
    ],
)
def test_damaged_weights(
    model_of: ModelOf, change: Callable[[dict[str, torch.Tensor]], None], reason: str, tmp_path: Path
) -> None:
    base = changed_weights(model_of("llama"), tmp_path / "base", change)
    with pytest.raises(ModelError, match=reason):
        export_model(str(base), tmp_path / "x.gguf")
    assert not list(tmp_path.glob("x.gguf*"))


def test_missing_and_broken_files(model_of: ModelOf, tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "x.gguf"
    with pytest.raises(ModelError, match="absent: no such folder"):
        export_model(str(tmp_path / "absent"), out)
    shutil.copytree(model_of("llama"), base)
    content = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"model\.safetensors: not a readable safetensors file"):
        export_model(str(base), out)
    (base / "model.safetensors").rename(base / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"model-00002-of-00002\.safetensors is missing, but .*index"):
        export_model(str(base), out)
    assert not out.exists()


def test_no_room_on_the_disk(model_of: ModelOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "x.gguf"
    little = shutil.disk_usage(tmp_path)._replace(free=1000)
    with monkeypatch.context() as patched:
        patched.setattr(gguf_file.shutil, "disk_usage", lambda _: little)
        with pytest.raises(OutputError, match=r"x\.gguf: needs 0\.1 GB, but the disk has 0\.0 GB left"):
            export_model(str(model_of("llama")), out)
    with file_size_limit(50_000), pytest.raises(OutputError, match=r"x\.gguf: cannot be written: "):
        export_model(str(model_of("llama")), out)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="it is a folder"):
        export_model(str(model_of("llama")), tmp_path)


def test_adapters_that_cannot_be_exported(model_of: ModelOf, tmp_path: Path) -> None:
    base, other = str(model_of("llama")), str(model_of("mistral"))
    adapter = write_adapter(tmp_path / "adapter", model_of("llama"))
    out = tmp_path / "x.gguf"
    wide = write_model(tmp_path / "wide", "llama", wide=True)
    with pytest.raises(ModelError, match=r"adapter: model\..* is 256 x \d+ in the base model, the adapter"):
        export_lora(str(wide), str(adapter), out)
    with pytest.raises(ModelError, match="no such adapter folder"):
        export_model(other, out, adapter=str(tmp_path / "absent"))
    config = json.loads((adapter / "adapter_config.json").read_text())
    for changes, reason in (
        ({"use_dora": True}, "a LoRA with use_dora"),
        ({"peft_type": "IA3"}, "an adapter of type IA3"),
        ({"init_lora_weights": "pissa"}, "a LoRA initialised with pissa, which changes the base model"),
    ):
        (adapter / "adapter_config.json").write_text(json.dumps(config | changes))
        with pytest.raises(ModelError, match=reason):
            export_model(base, out, adapter=str(adapter))
    assert not out.exists()


# ---- using a LoRA


def test_a_lora_is_loaded_with_its_base(model_of: ModelOf, tmp_path: Path) -> None:
    plain, lora, strange = (tmp_path / f"{name}.gguf" for name in ("plain", "lora", "strange"))
    adapter = write_adapter(tmp_path / "adapter", model_of("llama"))
    export_model(str(model_of("llama")), plain)
    export_lora(str(model_of("llama")), str(adapter), lora, type="f16")
    export_lora(str(model_of("qwen2")), str(write_adapter(tmp_path / "other", model_of("qwen2"))), strange)
    about = LlamaCppBackend(plain, threads=1, lora=lora).description
    assert about["lora"] == "lora.gguf"
    assert about["lora_sha256"] == file_hash(lora)
    with pytest.raises(ModelError, match=r"strange\.gguf: not a LoRA for .*plain\.gguf: .*arch mismatch"):
        LlamaCppBackend(plain, lora=strange)
    with pytest.raises(ModelError, match=r"plain\.gguf: not a LoRA for"):
        LlamaCppBackend(plain, lora=plain)
    with pytest.raises(ModelError, match=r"lora\.gguf: a LoRA, not a model; load its base model and pass"):
        LlamaCppBackend(lora)
    with pytest.raises(ModelError, match="a transformers model does not take the option 'lora'"):
        load_backend(model_of("llama"), lora=str(lora))
    # A growing cache needs a new context, which must have the LoRA too.
    backend = LlamaCppBackend(plain, threads=1, lora=lora)
    long = [*IDS] * 8
    np.testing.assert_allclose(
        logits_of(backend, long)[-1],
        logits_of(TransformersBackend(str(model_of("llama")), adapter=str(adapter)), long)[-1],
        atol=0.02,
    )


def test_what_an_adapter_was_trained_for_goes_with_it(model_of: ModelOf, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", model_of("llama"))
    card = card_for(model_of("llama"))
    card.save(adapter)
    store_temperature(adapter, 1.5)
    export_model(str(model_of("llama")), tmp_path / "merged.gguf", adapter=str(adapter))
    export_lora(str(model_of("llama")), str(adapter), tmp_path / "lora.gguf")
    for name in ("merged", "lora"):
        fields = read_metadata(tmp_path / f"{name}.gguf")
        assert AdapterCard.parse(fields[ADAPTER_KEY], name) == card
        assert fields[TEMPERATURE_KEY] == 1.5
    export_model(str(model_of("llama")), tmp_path / "plain.gguf")
    for model, lora in (("merged", None), ("plain", tmp_path / "lora.gguf")):
        path = tmp_path / f"{model}.gguf"
        ner = Annotator.load(path, lora=lora, threads=1)
        assert ner.schema == CHEMICAL
        assert ner.backend.temperature == 1.5
        with pytest.raises(ModelError, match="with the entity types chemical, this run uses drug, "):
            Annotator.load(path, lora=lora, threads=1, schema=DDI)
        assert Annotator.load(path, lora=lora, threads=1, schema=DDI, force=True).schema == DDI


@pytest.mark.parametrize("family", sorted(tiny_instruct.FAMILIES))
def test_the_example_of_every_family_can_be_exported(family: str, tmp_path: Path) -> None:
    model = tiny_instruct.make_tiny_instruct(tmp_path / "model", family=family, num_hidden_layers=2)
    export_model(str(model), tmp_path / "x.gguf", type="f32")
    assert_equal(gguf_logits(tmp_path / "x.gguf"), expected_logits(model), family, "f32")


def test_an_adapter_for_another_base(model_of: ModelOf, tmp_path: Path) -> None:
    """The other base has the same shapes, and differs only in its identity."""
    base, other = str(model_of("llama")), str(write_model(tmp_path / "other", "llama", seed=7))
    adapter = str(write_adapter(tmp_path / "adapter", model_of("llama")))
    card_for(model_of("llama")).save(Path(adapter))
    plain, lora, merged = (tmp_path / f"{name}.gguf" for name in ("plain", "lora", "merged"))
    differs = (
        r"adapter: the adapter was trained with base model .* \([0-9a-f]{12}\), "
        r"this run uses .* \([0-9a-f]{12}\); pass --force to use it anyway$"
    )
    with pytest.raises(ModelError, match=differs):
        export_model(other, merged, adapter=adapter)
    with pytest.raises(ModelError, match=differs):
        export_lora(other, adapter, lora)
    assert not merged.exists()
    export_model(other, merged, adapter=adapter, force=True)
    export_lora(base, adapter, lora)
    export_model(other, plain, type="q8_0")
    with pytest.raises(ModelError, match=differs.replace("adapter:", r"lora\.gguf:")):
        Annotator.load(plain, lora=lora, threads=1)
    Annotator.load(plain, lora=lora, threads=1, force=True).close()
    with pytest.raises(ModelError, match=r"merged\.gguf contains an adapter already"):
        Annotator.load(merged, lora=lora, threads=1, force=True)


def card_for(base: Path) -> AdapterCard:
    model = {"name": str(base), "sha256": hash_of_folder(base)}
    return AdapterCard.of(model, CHEMICAL, PromptFile.built_in(), CHAT_TEMPLATE)


# ---- the command


def run(main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_the_command(
    model_of: ModelOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base, plain, lora = model_of("qwen2"), tmp_path / "plain.gguf", tmp_path / "lora.gguf"
    adapter = write_adapter(tmp_path / "adapter", base)
    assert run(export_gguf.main, monkeypatch, "--model", base, "--out", plain) == 0
    assert re.search(r"plain\.gguf: qwen2, 0\.\d MB, tensors: 15 F16, 11 F32\n$", capsys.readouterr().err)
    options = ("--model", base, "--adapter", adapter, "--lora-only")
    assert run(export_gguf.main, monkeypatch, *options, "--out", lora, "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    sample = Path(__file__).parents[2] / "examples" / "sample.xml"
    options = (sample, tmp_path / "out", "--model", plain, "--lora", lora, "--limit", 2, "--threads", 1)
    assert run(annotate.main, monkeypatch, *options) == 0
    record = json.loads((tmp_path / "out.run.json").read_text())
    assert record["options"]["model"]["lora_sha256"] == file_hash(lora)
    capsys.readouterr()
    for wrong, reason in (
        (("--model", base, "--out", lora, "--lora-only"), "--lora-only writes an adapter: say which"),
        (("--model", tmp_path / "absent", "--out", plain), "no such folder"),
        (("--model", base, "--out", tmp_path / "a" / "b.gguf"), "there is no folder"),
    ):
        assert run(export_gguf.main, monkeypatch, *wrong) == 2
        assert re.fullmatch(rf"error: .*{reason}.*\n", capsys.readouterr().err)
