"""The tokenizer of a GGUF file, rebuilt with Hugging Face's library, so that two readers can be compared."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
WORDS = {"llama-bpe": LLAMA_3, "qwen2": LLAMA_3.replace("{1,3}", "")}
"""How these split a text before merging; the others split like GPT-2."""

CONTROL, BYTE = 3, 6  # token types of llama.cpp
_SCALARS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


def tokenizer_of_gguf(path: Path, chat_template: str | None = None) -> PreTrainedTokenizerFast:
    """A fast tokenizer of transformers with the tokens, merges, control tokens and template of the file."""
    about = read_metadata(path)
    tokens, types = about["tokenizer.ggml.tokens"], about["tokenizer.ggml.token_type"]
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    if about["tokenizer.ggml.model"] == "gpt2":
        tokenizer = _byte_level(ids, about["tokenizer.ggml.merges"], WORDS.get(about["tokenizer.ggml.pre"]))
        swallow_blanks = False
    else:
        tokenizer = _sentencepiece(ids, about["tokenizer.ggml.scores"])
        swallow_blanks = "phi" in about["general.architecture"]
    plain = ("<unk>", "<s>", "<|endoftext|>")
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False, rstrip=swallow_blanks and token not in plain)
            for token, kind in zip(tokens, types, strict=True)
            if kind == CONTROL
        ]
    )
    names = {
        f"{kind}_token": tokens[about[f"tokenizer.ggml.{kind}_token_id"]]
        for kind in ("bos", "eos")
        if f"tokenizer.ggml.{kind}_token_id" in about
    }
    if about["tokenizer.ggml.model"] == "llama" or about.get("tokenizer.ggml.pre") == "llama-bpe":
        bos = names["bos_token"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, ids[bos])]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=chat_template, **names)


def _byte_level(ids: dict[str, int], merges: list[str], words: str | None) -> Tokenizer:
    pairs = [tuple(merge.split(" ")) for merge in merges]
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=pairs, ignore_merges=words == LLAMA_3))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words is None)
    if words is not None:
        split = pre_tokenizers.Split(Regex(words), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, tokenizer.pre_tokenizer])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece(ids: dict[str, int], scores: list[float]) -> Tokenizer:
    found = []
    for piece, token_id in ids.items():
        pairs = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
        known = sorted((ids[a], ids[b], a, b) for a, b in pairs if a in ids and b in ids)
        found += [(-scores[token_id], a, b) for _, _, a, b in known]
    found.sort(key=lambda merge: merge[0])
    merges = [(a, b) for _, a, b in found]
    model = models.BPE(vocab=ids, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    blanks = normalizers.Replace(" ", "\u2581")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), blanks])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


def read_metadata(path: Path) -> dict[str, Any]:
    """The key-value part of a GGUF file of version 2 or 3."""
    with path.open("rb") as file:
        magic, _version, _n_tensors, n_values = struct.unpack("<4sIQQ", file.read(24))
        assert magic == b"GGUF"
        return {_string(file): _value(file, _number(file, "I")) for _ in range(n_values)}


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        element, length = _number(file, "I"), _number(file, "Q")
        if element == _STRING:
            return [_string(file) for _ in range(length)]
        code = _SCALARS[element]
        return list(struct.unpack(f"<{length}{code}", file.read(length * struct.calcsize(f"<{code}"))))
    return _number(file, _SCALARS[kind])


def _number(file: BinaryIO, code: str) -> Any:
    return struct.unpack(f"<{code}", file.read(struct.calcsize(f"<{code}")))[0]


def _string(file: BinaryIO) -> str:
    return file.read(_number(file, "Q")).decode()
