"""vLLM. Outlines (`from_vllm`) writes the grammar into the request."""

from __future__ import annotations

from typing import Any

from .product import NO_THINKING, Product, Tokenize


def _structured_outputs(client: Any, grammar: str) -> dict[str, Any]:
    import outlines
    from outlines.types import CFG

    return {"extra_body": outlines.from_vllm(client).type_adapter.format_output_type(CFG(grammar))}


def _read_strings(reply: dict[str, Any]) -> list[tuple[int, bytes]]:
    """The strings are the vocabulary's own, in which other characters stand for spaces and line breaks."""
    return [
        (token_id, string.translate(_SPELT).encode())
        for token_id, string in zip(reply["tokens"], reply["token_strs"], strict=True)
    ]


_SPELT = str.maketrans({"Ġ": " ", "▁": " ", "Ċ": "\n"})

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
