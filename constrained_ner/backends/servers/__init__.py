"""Models on servers: `ollama:NAME`, and `openai:NAME` for all that speak OpenAI's protocol."""

from __future__ import annotations

from ...errors import MissingExtraError, ModelError
from ..text_protocol import TextBackend

PREFIXES = ("ollama:", "openai:")


def is_remote(model: str) -> bool:
    """Whether this names a model on a server."""
    return model.startswith(PREFIXES)


def load_remote(
    model: str,
    *,
    base_url: str | None = None,
    server: str | None = None,
    context_length: int | None = None,
    max_sequences: int = 4,
    timeout_s: float = 300.0,
) -> TextBackend:
    """Connect to a server and find the model on it.

    base_url: of the server; Ollama's usual address by default, needed for `openai:`.
    server: which product it is (see `openai_server.KINDS`), None to find out.
    context_length: for Ollama, which loads the model with it; other servers have theirs.
    max_sequences: requests under way at once. timeout_s: for one attempt at one request.

    Raises ModelError where the server is not there, lacks the model or does not take an option.
    """
    try:
        from .connection import Patience, RemoteBackend, Server
        from .ollama import DEFAULT_URL, OllamaServer
        from .openai_compatible import KINDS, OpenAIServer
    except ImportError as error:
        raise MissingExtraError(error.name or "a client", "servers") from None
    provider, _, name = model.partition(":")
    if not name:
        raise ModelError(f"{model}: no model is named after the colon")
    if base_url is not None and not base_url.startswith(("http://", "https://")):
        raise ModelError(f"{base_url}: --base-url begins with http:// or https://")
    kind = next((known for known in KINDS if known == server), None)
    if server is not None and (kind is None or provider == "ollama"):
        raise ModelError(
            f"{model}: --server is for openai:NAME, and one of {', '.join(KINDS)}; not {server!r}"
        )
    connection: Server
    if provider == "ollama":
        connection = OllamaServer(name, base_url or DEFAULT_URL, context_length)
    elif base_url is None:
        # Texts must not leave the machine because an option was forgotten.
        raise ModelError(f"{model}: needs --base-url, for instance http://localhost:8080/v1")
    elif context_length is not None:
        raise ModelError(f"{model}: the server has set its context length; --context is for Ollama")
    else:
        connection = OpenAIServer(name, base_url, kind)
    patience = Patience(timeout_s=timeout_s)
    return RemoteBackend(connection, max_sequences=max_sequences, patience=patience)
