"""OpenAI itself, and every other server that speaks its protocol: a JSON schema in `response_format`."""

from __future__ import annotations

from typing import Any

from .product import Product


def _response_format(client: Any, grammar: str) -> dict[str, Any]:
    import outlines
    from outlines.types import JsonSchema

    schema = JsonSchema(grammar, ensure_ascii=False)
    return dict(outlines.from_openai(client).type_adapter.format_output_type(schema))


OPENAI = Product(
    title="the server",
    owner="",
    dialect="json-schema",
    grammar_field="response_format",
    grammar_advice="if it is llama-server, llama-cpp-python, vllm or sglang, say so with --server",
    constrain=_response_format,
)
