"""Models on servers: `ollama:NAME`, and `openai:NAME` for every server that speaks OpenAI's protocol.

A new product that speaks OpenAI's protocol is a new file with a `Product`, and a line in PRODUCTS. A server
with its own protocol is a new file with an `open_server`, and a line in PROTOCOLS.
"""

from __future__ import annotations

from importlib import import_module

from ...errors import MissingExtraError, ModelError
from ..protocol import TextBackend
from .llama_server import LLAMA_CPP_PYTHON, LLAMA_SERVER
from .openai import OPENAI
from .product import Product
from .sglang import SGLANG
from .vllm import VLLM

PROTOCOLS = {"ollama": ".ollama", "openai": ".openai_compatible"}
"""The part of a model's name before the colon -> the module that speaks the protocol, imported on demand."""

PRODUCTS: dict[str, Product] = {
    "llama-server": LLAMA_SERVER,
    "llama-cpp-python": LLAMA_CPP_PYTHON,
    "vllm": VLLM,
    "sglang": SGLANG,
    "openai": OPENAI,
}
"""What speaks OpenAI's protocol, by the name that --server takes."""


def is_on_server(model: str) -> bool:
    """Example: is_on_server("ollama:llama3.2") -> True"""
    return model.partition(":")[0] in PROTOCOLS and ":" in model


def connect(
    model: str,
    *,
    base_url: str | None = None,
    server: str | None = None,
    context: int | None = None,
    batch: int = 4,
    timeout: float = 300.0,
) -> TextBackend:
    """Connect to a server and find the model on it. A server with one model needs no name.

    base_url: address of the server; optional for Ollama, which has a usual one.
    server: a name in PRODUCTS, for openai:NAME; None to find out.
    context: context length in tokens, for Ollama, which loads the model with it; other servers set their own.
    batch: requests at once. timeout: seconds for one attempt at one request.

    Raises ModelError if the server cannot be reached, does not have the model, or does not take an option.
    """
    protocol, _, name = model.partition(":")
    try:
        from .connection import Patience, RemoteBackend

        module = import_module(PROTOCOLS[protocol], __package__)
    except ImportError as error:
        raise MissingExtraError(error.name or "a client", "servers") from None
    if base_url is not None and not base_url.startswith(("http://", "https://")):
        raise ModelError(f"{base_url}: --base-url must begin with http:// or https://")
    connection = module.open_server(name, base_url=base_url, server=server, context=context)
    try:
        return RemoteBackend(connection, max_sequences=batch, patience=Patience(timeout_s=timeout))
    except ModelError as error:
        if name:
            raise
        raise ModelError(f"{model}: no model is named after the colon: {error}") from None
