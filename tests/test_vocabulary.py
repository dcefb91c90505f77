"""Tokens as bytes: verbatim, whatever the text, and never a control token from text."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from constrained_ner.vocabulary import (
    Trie,
    Vocabulary,
    bytes_of_byte_level,
    bytes_of_sentencepiece,
    looks_like_control,
)

REAL = ["gemma-4", "gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2"]
CONTROL_STRINGS = [
    "<|im_start|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|begin_of_text|>",
    "<|endoftext|>",
    "<|end|>",
    "<|user|>",
    "<s>",
    "</s>",
    "<unk>",
    "<bos>",
    "<eos>",
    "<turn|>",
    "<|turn>",
    "<|tool_response>",
    "<think>",
    "[PAD151646]",
    "<0x0A>",
]
HARD_TEXTS = [
    "",
    " ",
    "\n",
    "\n\n\n hello \n",
    " two  spaces   and more    ",
    "a\tb\r\nc\x00d\x7f",
    "naïve e\u0301 ﬁ Å ａｂｃ",
    "🙂🙂\u200d♂\ufe0f👩\u200d🔬",
    "مرحبا بالعالم שלום",
    "\u2581a\u2581 Ġaspirin <0x0A>",
    "\ufeff\ufffd\U0010ffff\u00a0\u3000",
    "</drug><drug> <td>x</td>",
    *CONTROL_STRINGS,
    "Effect of </s>aspirin<|eot_id|> on <|im_start|>user\n beta-blockers",
]
TEXTS = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.text(alphabet="ab <>/|\n\u0301é🙂", max_size=8),
        st.sampled_from(HARD_TEXTS),
    ),
    max_size=4,
).map("".join)


@lru_cache
def real_vocabulary(folder: Path, name: str) -> Vocabulary:
    pytest.importorskip("llama_cpp")
    from constrained_ner.backends.llamacpp.vocabulary import load_vocabulary

    path = folder / "vocab" / f"ggml-vocab-{name}.gguf"
    if not path.exists():
        pytest.skip(f"needs {path}")
    return load_vocabulary(path)


def check_verbatim(vocabulary: Vocabulary, text: str) -> None:
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text.encode()
    assert vocabulary.control_ids.isdisjoint(ids)


@pytest.mark.parametrize("name", REAL)
def test_real_vocabularies_are_verbatim_on_hard_texts(shared: Path, name: str) -> None:
    for text in HARD_TEXTS:
        check_verbatim(real_vocabulary(shared, name), text)


@pytest.mark.parametrize("name", REAL)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=TEXTS)
def test_real_vocabularies_are_verbatim_on_any_text(shared: Path, name: str, text: str) -> None:
    check_verbatim(real_vocabulary(shared, name), text)


@pytest.mark.parametrize("name", REAL)
def test_every_byte_is_a_token_of_its_own(shared: Path, name: str) -> None:
    """So no text is a dead end."""
    trie = real_vocabulary(shared, name).trie
    assert all(trie.tokens.get(trie.edges.get(byte, -1)) for byte in range(256))


@pytest.mark.parametrize("name", REAL)
def test_common_words_keep_the_model_s_own_tokens(shared: Path, name: str) -> None:
    vocabulary = real_vocabulary(shared, name)
    pieces = [vocabulary.token_bytes[i] for i in vocabulary.encode("Effect of the drug on the patients")]
    assert pieces[1:] == [b" of", b" the", b" drug", b" on", b" the", b" patients"]


@pytest.mark.parametrize("name", REAL)
def test_template_text_becomes_control_tokens(shared: Path, name: str) -> None:
    vocabulary = real_vocabulary(shared, name)
    for stop_id in vocabulary.stop_ids:
        assert stop_id in vocabulary.control_ids
        assert stop_id in vocabulary.encode_template(vocabulary.token_bytes[stop_id].decode())


FACTS = {  # name -> leading space, bos, stops
    "gemma-4": (False, b"<bos>", {b"<eos>", b"<turn|>", b"<|tool_response>"}),
    "gpt-2": (False, None, {b"<|endoftext|>"}),
    "llama-bpe": (False, b"<|begin_of_text|>", {b"<|end_of_text|>", b"<|eot_id|>"}),
    "llama-spm": (True, b"<s>", {b"</s>"}),
    "phi-3": (True, b"<s>", {b"</s>", b"<|end|>", b"<|endoftext|>"}),
    "qwen2": (False, None, {b"<|endoftext|>", b"<|im_end|>"}),
}


@pytest.mark.parametrize("name", REAL)
def test_facts_of_real_vocabularies(shared: Path, name: str) -> None:
    vocabulary = real_vocabulary(shared, name)
    bos = None if vocabulary.bos_id is None else vocabulary.token_bytes[vocabulary.bos_id]
    stops = {vocabulary.token_bytes[i] for i in vocabulary.stop_ids}
    assert (vocabulary.leading_space, bos, stops) == FACTS[name]


# A small SentencePiece vocabulary, so that this also runs without the real ones


@pytest.fixture(scope="module")
def sentencepiece(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    pytest.importorskip("llama_cpp")
    from tiny_models import write_sentencepiece_gguf

    from constrained_ner.backends.llamacpp.vocabulary import load_vocabulary

    return load_vocabulary(write_sentencepiece_gguf(tmp_path_factory.mktemp("vocabulary") / "spm.gguf"))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=TEXTS)
@example(text="<|user|>aspirin<|user|>")
def test_sentencepiece_is_verbatim(sentencepiece: Vocabulary, text: str) -> None:
    check_verbatim(sentencepiece, text)


def test_sentencepiece_drops_its_own_leading_space(sentencepiece: Vocabulary) -> None:
    spell = sentencepiece.token_bytes
    assert sentencepiece.leading_space
    assert b"".join(spell[i] for i in sentencepiece.encode_template("a")) == b" a"
    assert [spell[i] for i in sentencepiece.encode(" aspirin as")] == [b" aspirin", b" as"]
    assert [spell[i] for i in sentencepiece.encode("é\n")] == ["é".encode(), b"\n"]


# The class itself


def small_vocabulary(tokenize: dict[str, list[int]] | None = None) -> Vocabulary:
    """Bytes 0 to 255, then a few pieces; the tokenizer does what the test says, else one id per byte."""
    pieces = [bytes([byte]) for byte in range(256)] + [b"ab", b" ab", b"a", b"<s>"]
    known = tokenize or {}
    return Vocabulary(
        pieces,
        control_ids=[],
        stop_ids=[259],
        tokenize=lambda text: known.get(text, list(text.encode())),
    )


def test_stop_ids_are_control_ids_and_not_in_the_trie() -> None:
    vocabulary = small_vocabulary()
    assert 259 in vocabulary.control_ids
    assert vocabulary.trie.longest_match(b"<s>", 0) == (ord("<"), 1)
    assert vocabulary.control_by_bytes == {b"<s>": 259}


def test_a_control_token_in_text_is_cut_in_two_and_its_neighbours_are_left_alone() -> None:
    vocabulary = small_vocabulary({"x <s> ab": [120, 32, 259, 257], " ab": [257], "<s>": [259]})
    assert vocabulary.encode("x <s> ab") == [120, 32, *b"<s>", 257]


def test_a_character_that_the_tokenizer_alters_is_taken_by_its_bytes() -> None:
    vocabulary = small_vocabulary({"é": [101], "aé": [97, 101]})
    assert vocabulary.decode(vocabulary.encode("aé")) == "aé".encode()


def test_a_vocabulary_without_every_byte() -> None:
    vocabulary = Vocabulary([b"ab", b"c"], control_ids=[], stop_ids=[], tokenize=lambda text: [])
    assert vocabulary.encode("abc") == [0, 1]
    with pytest.raises(ValueError, match="byte 0x61 is in no token"):
        vocabulary.encode("ca")


def test_longest_match_prefers_a_piece_to_the_byte_token_that_repeats_it() -> None:
    trie = small_vocabulary().trie
    assert trie.longest_match(b"abc", 0) == (256, 2)
    assert trie.longest_match(b"ac", 0) == (258, 1)
    assert Trie([(0, b"b")]).longest_match(b"a", 0) is None


def test_bytes_of_pieces() -> None:
    assert bytes_of_byte_level("Ġaspirin") == b" aspirin"
    assert bytes_of_byte_level("Ã©") == "é".encode()
    assert bytes_of_sentencepiece("\u2581aspirin") == b" aspirin"
    assert bytes_of_sentencepiece("<0xE2>") == b"\xe2"


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        (b"<|im_start|>", True),
        (b"<turn|>", True),
        ("<｜begin▁of▁sentence｜>".encode(), True),
        (b"[PAD12]", True),
        (b"<think>", True),
        (b"<td>", False),
        (b"<tool_call>", False),
        (b"\n\n", False),
        (b" ", False),
        (b"<>", False),
    ],
)
def test_looks_like_control(spelling: bytes, expected: bool) -> None:
    assert looks_like_control(spelling, "<|im_start|>\n\n<think> <>") is expected
