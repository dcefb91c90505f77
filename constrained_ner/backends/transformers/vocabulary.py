"""The vocabulary of a Hugging Face tokenizer as bytes.

Read from the tokenizer's own description (`tokenizer.json`), which says how its pieces are written: in the
byte-level alphabet (GPT-2, Llama 3, Qwen), or with SentencePiece's `▁` and byte tokens (Llama 2, Phi 3,
Gemma).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from threading import Lock
from typing import Any

from tokenizers import Tokenizer

from ...errors import ModelError
from ...vocabulary import Vocabulary, bytes_of_byte_level, bytes_of_sentencepiece, looks_like_control

_ENDS_OF_TURN = (
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<turn|>",
)
"""Special tokens that end an answer in every model that has them, whatever its configuration says."""

_COMPOSING = {"type": "NFC"}


def vocabulary_of_tokenizer(
    tokenizer: Any, *, n_tokens: int | None = None, stop_ids: Collection[int] = ()
) -> Vocabulary:
    """The vocabulary of a fast tokenizer of transformers.

    n_tokens: rows of the model's output layer, which is often padded; ids that the tokenizer lacks become
        control ids without bytes.
    stop_ids: end tokens from the model's configuration, besides the tokenizer's own.
    Raises ModelError for a tokenizer that loses part of the text.
    """
    name = getattr(tokenizer, "name_or_path", "") or "the tokenizer"
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(fast, Tokenizer):
        raise ModelError(
            f"{name}: no fast tokenizer (tokenizer.json), which is needed to read tokens as bytes"
        )
    content = json.loads(fast.to_str())
    template = template_of(tokenizer)
    spelt = _bytes_of_pieces(content, fast.get_vocab(with_added_tokens=True), name)
    n_rows = max(spelt, default=-1) + 1 if n_tokens is None else n_tokens
    if max(spelt, default=-1) >= n_rows:
        raise ModelError(f"{name}: the tokenizer has token {max(spelt)}, the model only {n_rows} outputs")
    controls = {
        token["id"]
        for token in content["added_tokens"]
        if token["special"] or looks_like_control(token["content"].encode(), template)
    }
    unknown = getattr(tokenizer, "unk_token_id", None)
    if unknown is not None:
        controls.add(unknown)
    ends = {tokenizer.convert_tokens_to_ids(text) for text in _ENDS_OF_TURN} & controls - {unknown}
    own_end = tokenizer.eos_token_id
    reader = _Reader(content)
    probe = b"".join(spelt.get(i, b"") for i in reader.tokenize("a"))
    return Vocabulary(
        [spelt.get(token_id, b"") for token_id in range(n_rows)],
        control_ids=controls | set(range(n_rows)).difference(spelt),
        stop_ids={*stop_ids, *ends, *([] if own_end is None else [own_end])},
        tokenize=reader.tokenize,
        tokenize_template=reader.tokenize_template,
        leading_space=probe.startswith(b" "),
        bos_id=_leading_bos(tokenizer),
        eos_id=own_end,
    )


def template_of(tokenizer: Any) -> str | None:
    """The chat template; if there are several, the one called "default"."""
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, dict):
        template = template.get("default")
    return template


class _Reader:
    """The tokenizer's own rules, applied in two ways: special tokens are recognised, or taken as plain text.

    Added tokens that are not special are recognised either way. llama.cpp does the same with user-defined
    tokens, so both give the same ids; `Vocabulary.encode` handles those that are control strings of a chat.
    Unicode composition (NFC, in Qwen) is left out, as in llama.cpp: it would alter the text to be copied.
    Works on a copy, so that other users of the tokenizer keep their settings.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        copy = {**content, "truncation": None, "padding": None, "post_processor": None}
        if content.get("normalizer") == _COMPOSING:
            copy["normalizer"] = None
        self._tokenizer = Tokenizer.from_str(json.dumps(copy))
        self._lock = Lock()

    def tokenize(self, text: str) -> list[int]:
        return self._encode(text, specials_are_text=True)

    def tokenize_template(self, text: str) -> list[int]:
        return self._encode(text, specials_are_text=False)

    def _encode(self, text: str, *, specials_are_text: bool) -> list[int]:
        with self._lock:
            self._tokenizer.encode_special_tokens = specials_are_text
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _bytes_of_pieces(content: dict[str, Any], pieces: dict[str, int], name: str) -> dict[int, bytes]:
    """Token id -> bytes. Added tokens are matched in the text itself, so their bytes are their spelling."""
    kinds = set(_kinds(content["decoder"])) | set(_kinds(content["pre_tokenizer"]))
    vocabulary = content["model"]["vocab"]
    known = set(vocabulary) if isinstance(vocabulary, dict) else {piece for piece, _ in vocabulary}
    if "ByteLevel" in kinds:
        read = _byte_level_or_text
    elif kinds & {"Metaspace", "ByteFallback", "Replace"}:
        read = bytes_of_sentencepiece if content["model"].get("byte_fallback") else _without_byte_tokens
    else:
        kind = content["model"].get("type", "unknown")
        raise ModelError(f"{name}: a tokenizer of type {kind} loses blanks and cannot copy a text verbatim")
    return {id_: read(piece) if piece in known else piece.encode() for piece, id_ in pieces.items()}


def _kinds(part: dict[str, Any] | None) -> Iterator[str]:
    """The types in a pre-tokenizer or decoder, including those inside a Sequence."""
    if part is None:
        return
    yield part["type"]
    for inner in part.get("decoders") or part.get("pretokenizers") or ():
        yield from _kinds(inner)


def _byte_level_or_text(piece: str) -> bytes:
    try:
        return bytes_of_byte_level(piece)
    except KeyError:  # an added token that the vocabulary lists too
        return piece.encode()


def _without_byte_tokens(piece: str) -> bytes:
    return piece.replace("\u2581", " ").encode()


def _leading_bos(tokenizer: Any) -> int | None:
    """The id that the tokenizer itself writes before every text, if it does."""
    bos: int | None = tokenizer.bos_token_id
    ids = tokenizer("a")["input_ids"]
    return bos if bos is not None and ids[:1] == [bos] else None
