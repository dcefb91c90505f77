"""vLLM. Outlines (`from_vllm`) writes the grammar into the request."""

from __future__ import annotations

from typing import Any

from .product import NO_THINKING, Product


def _structured_outputs(client: Any, grammar: str) -> dict[str, Any]:
    import outlines
    from outlines.types import CFG

    return {"extra_body": outlines.from_vllm(client).type_adapter.format_output_type(CFG(grammar))}


VLLM = Product(
    title="vLLM",
    owner="vllm",
    dialect="gbnf",
    grammar_field="structured_outputs",
    grammar_advice="update vLLM: it supports this field from 0.12 on",
    constrain=_structured_outputs,
    # The default is the model's own, often more than 1.
    greedy={"repetition_penalty": 1.0} | NO_THINKING,
)
