"""llama.cpp's servers: its own llama-server, and llama_cpp.server of llama-cpp-python.

Both tokenise the rendered prompt with control tokens on, so text that spells a control token becomes one.
Outlines has no model for them, so the field is set here.
"""

from __future__ import annotations

from typing import Any

from .product import NO_THINKING, Product, Tokenize, extra_field

_FREE_COPYING = {"repeat_penalty": 1.0}  # the default of llama_cpp.server is 1.1


def _read_pieces(reply: dict[str, Any], text: str) -> list[tuple[int, bytes]]:
    """A piece that is not UTF-8 by itself comes as a list of bytes."""
    return [
        (token["id"], piece.encode() if isinstance(piece := token["piece"], str) else bytes(piece))
        for token in reply["tokens"]
    ]


LLAMA_SERVER = Product(
    title="llama-server",
    owner="llamacpp",
    dialect="gbnf",
    grammar_field="grammar",
    grammar_advice="start it with --special if the model's tags are control tokens",
    constrain=extra_field("grammar"),
    greedy=_FREE_COPYING | NO_THINKING,
    tokenize=Tokenize(
        request=lambda model, text: {
            "content": text,
            "add_special": False,
            "parse_special": False,
            "with_pieces": True,
        },
        read=_read_pieces,
    ),
    reports_tokens=True,
)

LLAMA_CPP_PYTHON = Product(
    title="llama_cpp.server",
    owner="me",
    dialect="gbnf",
    grammar_field="grammar",
    grammar_advice="update it",
    constrain=extra_field("grammar"),
    greedy=_FREE_COPYING,
)
