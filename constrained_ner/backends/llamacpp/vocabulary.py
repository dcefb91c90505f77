"""The vocabulary of a GGUF file as bytes."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from ...vocabulary import Vocabulary, looks_like_control
from .library import llama_cpp
from .model import LlamaModel

_CONTROL = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
_NOT_TEXT = _CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN | llama_cpp.LLAMA_TOKEN_ATTR_UNUSED


def load_vocabulary(path: str | Path) -> Vocabulary:
    """The vocabulary of a GGUF file; its weights, if it has any, are not read."""
    return vocabulary_of_llama(LlamaModel(path, vocab_only=True))


def vocabulary_of_llama(model: LlamaModel) -> Vocabulary:
    """The bytes of every token, and which tokens are not text. Tokenising needs the model to stay open.

    llama.cpp finds USER_DEFINED tokens in text even with specials off. Those that look like control strings
    of a chat therefore become control ids, which `Vocabulary.encode` never returns; the rest (runs of blanks,
    `<td>`) are ordinary text. llama.cpp also declares some tokens CONTROL because of their spelling although
    the file says NORMAL (`</s>` in Qwen); the same rule applies to those.
    """
    vocab, template = model.vocab, model.chat_template
    n_tokens = llama_cpp.llama_vocab_n_tokens(vocab)
    ends = {llama_cpp.llama_vocab_eos(vocab), llama_cpp.llama_vocab_eot(vocab)}
    token_bytes: list[bytes] = []
    control_ids: set[int] = set()
    buffer = ctypes.create_string_buffer(4096)
    for token_id in range(n_tokens):
        attributes = llama_cpp.llama_vocab_get_attr(vocab, token_id)
        piece = _piece(vocab, token_id, buffer)
        if attributes & _NOT_TEXT or token_id in ends:
            doubtful = attributes & _NOT_TEXT == _CONTROL and attributes & llama_cpp.LLAMA_TOKEN_ATTR_NORMAL
            if not doubtful or token_id in ends or looks_like_control(piece, template):
                control_ids.add(token_id)
        elif attributes & llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED and looks_like_control(piece, template):
            control_ids.add(token_id)
        token_bytes.append(b"" if attributes & llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN else piece)
    bos = llama_cpp.llama_vocab_bos(vocab) if llama_cpp.llama_vocab_get_add_bos(vocab) else -1
    eos = llama_cpp.llama_vocab_eos(vocab)

    def tokenize(text: str) -> list[int]:
        return model.tokenize(text, specials=False)

    def tokenize_template(text: str) -> list[int]:
        return model.tokenize(text, specials=True)

    probe = tokenize("a")
    return Vocabulary(
        token_bytes,
        control_ids=control_ids,
        stop_ids=[i for i in control_ids if llama_cpp.llama_vocab_is_eog(vocab, i)],
        tokenize=tokenize,
        tokenize_template=tokenize_template,
        leading_space=b"".join(token_bytes[i] for i in probe).startswith(b" "),
        bos_id=bos if bos >= 0 else None,
        eos_id=eos if eos >= 0 else None,
    )


def _piece(vocab: Any, token_id: int, buffer: Any) -> bytes:
    """The token's raw bytes; they may be part of a character."""
    n_bytes = llama_cpp.llama_token_to_piece(vocab, token_id, buffer, len(buffer), 0, True)
    if n_bytes < 0:
        buffer = ctypes.create_string_buffer(-n_bytes)
        n_bytes = llama_cpp.llama_token_to_piece(vocab, token_id, buffer, len(buffer), 0, True)
    piece: bytes = buffer.raw[:n_bytes]
    if b"[UNK_BYTE_0x" in piece:  # how llama.cpp shows a character outside the byte-level alphabet
        spelling: bytes = llama_cpp.llama_vocab_get_text(vocab, token_id)
        return piece if b"[UNK_BYTE_0x" in spelling else spelling
    return piece
