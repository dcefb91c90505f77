"""vLLM. Outlines (`from_vllm`) writes the grammar into the request."""

from __future__ import annotations

from typing import Any

from ...vocabulary import bytes_of_byte_level, bytes_of_sentencepiece
from .product import NO_THINKING, Product, Tokenize


def _structured_outputs(client: Any, grammar: str) -> dict[str, Any]:
    import outlines
    from outlines.types import CFG

    return {"extra_body": outlines.from_vllm(client).type_adapter.format_output_type(CFG(grammar))}


def _read_strings(reply: dict[str, Any], text: str) -> list[tuple[int, bytes]]:
    """The strings are the vocabulary's own: GPT-2's characters for bytes, or SentencePiece's.

    "Ä" alone could be either, so the alphabet is the one in which all of them spell the text.
    """
    ids, strings = reply["tokens"], reply["token_strs"]
    spelt = (list(map(bytes_of, strings)) for bytes_of in (_of_byte_level, bytes_of_sentencepiece))
    for pieces in spelt:
        if b"".join(pieces).removeprefix(b" ") == text.encode().removeprefix(b" "):
            return list(zip(ids, pieces, strict=True))
    raise ValueError(f"the tokens do not spell {text!r}")


def _of_byte_level(piece: str) -> bytes:
    try:
        return bytes_of_byte_level(piece)
    except KeyError:
        return b""  # of another alphabet


VLLM = Product(
    title="vLLM",
    owner="vllm",
    dialect="gbnf",
    grammar_field="structured_outputs",
    grammar_advice="update vLLM: it supports this field from 0.12 on",
    constrain=_structured_outputs,
    # The default is the model's own, often more than 1.
    greedy={"repetition_penalty": 1.0} | NO_THINKING,
    tokenize=Tokenize(
        request=lambda model, text: {
            "model": model,
            "prompt": text,
            "add_special_tokens": False,
            "return_token_strs": True,
        },
        read=_read_strings,
    ),
    reports_tokens=True,
)
