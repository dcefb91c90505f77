"""What runs a model, as the rest of the package sees it: one protocol for all back ends, and its two kinds.

    Backend             what every back end says about itself
    ├── LogitsBackend   a local model, whose logits we see
    └── TextBackend     a model on a server, which takes messages and returns text

`backend.shows_logits` tells the kinds apart; mypy narrows the union by it. A back end knows neither sentences
nor schemas nor tags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..vocabulary import Vocabulary

GrammarDialect = Literal["gbnf", "json-schema"]


class Backend(Protocol):
    """What every back end says about itself."""

    @property
    def shows_logits(self) -> bool:
        """True for a LogitsBackend, False for a TextBackend."""

    @property
    def thread_safe(self) -> bool:
        """Whether several threads may call its methods at the same time."""

    @property
    def max_sequences(self) -> int:
        """Sequences, or requests to a server, that are processed at once."""

    @property
    def context_length(self) -> int | None:
        """The most tokens that prompt and answer may have together; None if a server does not say."""

    @property
    def chat_template(self) -> str | None:
        """The model's own (Jinja); None if it has none, or if a server applies it."""

    @property
    def temperature(self) -> float | None:
        """The divisor of logits that calibrates confidences; None if none was stored with the model."""

    @property
    def adapter_card(self) -> str | None:
        """What the adapter in the model file was trained for (JSON); None if the file does not say."""

    @property
    def base_model(self) -> str | None:
        """The model that the LoRA was trained on (JSON); None without a LoRA, or if its base is not known."""

    @property
    def identity(self) -> dict[str, str]:
        """What decides the answers: kind of back end, hashes of model and adapters, precision, device kind.

        Not paths, thread counts, batch sizes or library versions: a run may be resumed with others.
        """

    @property
    def description(self) -> dict[str, str]:
        """The identity for people to read: some of it in more detail, and with name, path and version."""

    def close(self) -> None:
        """Free the model's memory, or hang up. May be called again; the model cannot be used after it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One sequence's share of a forward pass.

    sequence: slot number, 0 <= sequence < max_sequences.
    keep: how many of the tokens that this slot holds after the shared prefix stay in the cache; the others
        are dropped first. 0 begins a new sequence.
    token_ids: what to append; at least one.
    watch: per appended token, the ids whose logits are wanted for the position after it, or None to skip
        the position. An empty sequence asks only for the summary.
    summary: also score the whole vocabulary, as `Scores.logsumexp` and `best`. It may cost as much as the
        rest of the pass, so ask only for what will be read.
    """

    sequence: int
    keep: int
    token_ids: Sequence[int]
    watch: Sequence[Sequence[int] | None]
    summary: bool = True


@dataclass(frozen=True, slots=True)
class Scores:
    """The model's prediction of the token after one position.

    logits: float32, shape (number of watched ids,), in their order.
    logsumexp: over the whole vocabulary, so exp(logits - logsumexp) are probabilities.
    best: the id with the highest logit of the whole vocabulary; the lowest such id if there are several.
    Both are None if the step did not ask for the summary.
    """

    logits: NDArray[np.float32]
    logsumexp: float | None = None
    best: int | None = None


class LogitsBackend(Backend, Protocol):
    """A local model. Its methods must not be called from several threads at once."""

    @property
    def shows_logits(self) -> Literal[True]: ...

    @property
    def context_length(self) -> int:
        """The most tokens that a slot may hold, shared prefix included."""

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def draft_horizon(self) -> int | None:
        """How many tokens a draft should have at most; None for the whole rest of an answer.

        A draft's tokens after the first wrong one are computed in vain; a shorter draft needs more passes. So
        this follows from what a pass and what a token costs. It never changes an answer.
        """

    def prefill(self, prefix_ids: Sequence[int]) -> None:
        """Compute the prefix that all sequences share, once, and empty every slot.

        May be called again. What the new prefix has in common with the old one need not be computed again.
        """

    def forward(self, steps: Sequence[Step]) -> list[list[Scores | None]]:
        """Run one forward pass over at most max_sequences steps, each for a different slot.

        Returns, per step and per appended token, the scores that were asked for.
        """


@dataclass(frozen=True, slots=True)
class TextRequest:
    """One question to a server.

    messages: pairs of role (system, user, assistant) and content, the question last.
    max_tokens: limit for the answer.
    grammar: the language of legal answers, in the back end's dialect; None for no constraint.
    bias: number to add to the logit of a token, wherever it may come; by the server's token id.
    n_likeliest: how many tokens to report at each place, if the server can.
    """

    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    grammar: str | None = None
    bias: Mapping[int, float] = field(default_factory=dict)
    n_likeliest: int = 0

    @property
    def n_bytes(self) -> int:
        return sum(len(content.encode(errors="replace")) for _, content in self.messages)


@dataclass(frozen=True, slots=True)
class ReportedToken:
    """A token of a server's answer as the server reports it.

    log_probability: natural, over the whole vocabulary, before grammar and bias.
    likeliest: the same of the tokens that were likeliest here, by their bytes, perhaps without this one.
    A token that ends the answer has no bytes.
    """

    token: bytes
    log_probability: float
    likeliest: tuple[tuple[bytes, float], ...]


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """A server's answer.

    finished: False if the answer was cut off, by `max_tokens` or by the end of the context.
    n_prompt_tokens, n_tokens: length of the prompt and of the answer; 0 if the server does not say.
    tokens: empty if the server does not report them.
    """

    text: str
    finished: bool
    n_prompt_tokens: int
    n_tokens: int
    tokens: tuple[ReportedToken, ...] = ()


class TextBackend(Backend, Protocol):
    """A model on a server."""

    @property
    def shows_logits(self) -> Literal[False]: ...

    @property
    def dialect(self) -> GrammarDialect:
        """The language that grammars must be written in."""

    @property
    def grammar_field(self) -> str:
        """Server, address and field of the request that takes the grammar, for messages to the user."""

    @property
    def grammar_advice(self) -> str:
        """What the user can do if the server ignores the grammar."""

    @property
    def reports_tokens(self) -> bool:
        """Whether answers have their tokens with probabilities, as far as the product is known to."""

    def tokenize(self, text: str) -> list[tuple[int, bytes]]:
        """The server's tokens of a text, control tokens off. Raises ModelError if it does not tell."""

    def submit(self, request: TextRequest) -> Future[TextAnswer]:
        """Send a request; the answer is decoded greedily. Cancelling the future cancels the request.

        The future raises SentenceError if this request failed (ContextOverflowError if it did not fit), and
        UserError if every other request would fail too: the server is gone, or rejects the key.
        """
