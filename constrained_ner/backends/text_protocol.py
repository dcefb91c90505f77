"""The seam between annotation and servers: models that take messages and give back text, and nothing else.

A text back end knows neither sentences nor schemas nor tags. What an answer may be comes to it as a text in
the dialect that its server reads.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

GrammarDialect = Literal["gbnf", "json-schema"]


@dataclass(frozen=True, slots=True)
class TextRequest:
    """One question.

    messages: pairs of role (system, user, assistant) and content, the question last.
    max_tokens: the most that the answer may take.
    grammar: what the answer may be, in the back end's dialect; None for anything.
    """

    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    grammar: str | None = None

    @property
    def n_bytes(self) -> int:
        return sum(len(content.encode(errors="replace")) for _, content in self.messages)


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """What the server wrote.

    finished: False if it was cut off, by `max_tokens` or by the end of the context.
    n_prompt_tokens, n_tokens: of the prompt and of the answer; 0 where the server does not say.
    """

    text: str
    finished: bool
    n_prompt_tokens: int
    n_tokens: int


@runtime_checkable
class TextBackend(Protocol):
    """A model on a server.

    dialect: how grammars have to be written.
    grammar_field: server, address and field of the request that takes the grammar, for messages to the user.
    grammar_advice: what to do if the server does not heed it.
    context_length: tokens that prompt and answer may have together; None if the server does not say.
    max_sequences: requests under way at once; further ones wait.
    """

    @property
    def dialect(self) -> GrammarDialect: ...

    @property
    def grammar_field(self) -> str: ...

    @property
    def grammar_advice(self) -> str: ...

    @property
    def context_length(self) -> int | None: ...

    @property
    def max_sequences(self) -> int: ...

    @property
    def description(self) -> dict[str, str]:
        """What a run's record says of the model: name, server, address ("path"), hash if there is one."""

    def submit(self, request: TextRequest) -> Future[TextAnswer]:
        """Ask; the answer comes greedily decoded. Cancelling the future ends the request.

        The future raises SentenceError where this request failed (ContextOverflowError where it did not fit),
        and UserError where no other will fare better: the server is gone, or refuses the key.
        """

    def close(self) -> None:
        """Drop what is under way, and hang up."""
