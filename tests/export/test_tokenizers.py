"""Exported tokenizers: llama.cpp reads the same tokens, so it finds the same mentions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

peft = pytest.importorskip("peft")
gguf = pytest.importorskip("gguf")
llama_cpp = pytest.importorskip("llama_cpp")

import transformers  # noqa: E402
from exportable_models import (  # noqa: E402
    LLAMA3_WORDS,
    QWEN2_WORDS,
    TEKKEN_WORDS,
    sentencepiece_tokenizer,
    word_tokenizer,
    write_model,
)
from exporting import (  # noqa: E402
    ModelOf,
    write_adapter,
)
from gguf_tokenizers import read_metadata  # noqa: E402
from hard_texts import HARD_TEXTS  # noqa: E402
from tiny_models import byte_level_tokenizer, write_transformers  # noqa: E402
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: E402

from constrained_ner.annotation.annotator import Annotator  # noqa: E402
from constrained_ner.backends.llamacpp.model import LlamaModel  # noqa: E402
from constrained_ner.backends.llamacpp.vocabulary import load_vocabulary  # noqa: E402
from constrained_ner.backends.transformers.backend import vocabulary_of_tokenizer  # noqa: E402
from constrained_ner.data import Sentence  # noqa: E402
from constrained_ner.export.to_gguf import export_model  # noqa: E402
from constrained_ner.export.tokenizer import add_tokenizer  # noqa: E402
from constrained_ner.export.verify import TEXTS  # noqa: E402


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
    assert here._transport._prompt.prefix_ids == there._transport._prompt.prefix_ids
    for sentence in sentences:
        assert here._transport._prompt.ids(sentence.text) == there._transport._prompt.ids(sentence.text)
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


def test_a_token_that_llama_cpp_takes_for_the_end_of_an_answer_is_text_in_pieces(tmp_path: Path) -> None:
    """Gemma's vocabulary has HTML tags, among them `</s>`, which llama.cpp makes a control token."""
    tokenizer = sentencepiece_tokenizer(prefix=False, controls=("<eos>", "<start_of_turn>", "<end_of_turn>"))
    content = json.loads(tokenizer.to_str())
    for token in content["added_tokens"]:
        token["special"] = token["content"] != "</s>"
    tokenizer = Tokenizer.from_str(json.dumps(content))
    folder = write_model(tmp_path / "model", "gemma3_text", tokenizer=tokenizer)
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="<eos>"
    )
    wrapped.save_pretrained(folder)
    for file in ("config.json", "generation_config.json"):
        settings = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(settings | {"eos_token_id": wrapped.eos_token_id}))
    there = vocabulary_of_tokenizer(wrapped)
    (html,) = there.encode("</s>")
    assert html not in there.control_ids

    exported = export_model(str(folder), tmp_path / "x.gguf")
    assert any("takes the token </s> for the end of an answer" in note for note in exported.notes)
    here = load_vocabulary(tmp_path / "x.gguf")
    assert here.stop_ids == {html, wrapped.eos_token_id, wrapped.convert_tokens_to_ids("<end_of_turn>")}
    for text in ("a </s> b", "</s>", "x</s></s>y"):
        assert html not in here.encode(text)
        assert here.decode(here.encode(text)) == text.encode()
    assert here.encode("<s> a <b>") == there.encode("<s> a <b>")
    with Annotator.load(tmp_path / "x.gguf", threads=1) as ner:  # legal, and written in pieces
        assert ner.annotate("No </s> here.").text == "No </s> here."
