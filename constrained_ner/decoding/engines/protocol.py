"""The seam between stepwise decoding and the grammar engines of others.

An engine compiles a grammar for one vocabulary, and a matcher follows one answer through it. `EngineTokens`
turns that into legal sets, so decoders, back ends and answers do not change. Engines know neither sentences
nor schemas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ...constraint.automaton import DEAD, State
from ...constraint.grammars import Dialect, render
from ...constraint.legal import END
from ...constraint.sentence_automaton import SentenceAutomaton
from ...errors import SentenceError
from ...vocabulary import Vocabulary

EngineName = Literal["native", "outlines", "llguidance", "xgrammar", "gbnf"]


class Matcher(Protocol):
    """One answer in progress."""

    def legal_ids(self) -> Sequence[int]:
        """The ids of all tokens that may come next, ascending; the stop tokens if the answer may end."""

    def accept(self, token_id: int) -> None:
        """Append a token, which must be legal and not a stop token."""


class Engine(Protocol):
    """A grammar engine, with its tables for one vocabulary."""

    @property
    def dialect(self) -> Dialect: ...

    def start(self, grammar: str) -> Matcher:
        """Compile a grammar. Raises SentenceError if the engine cannot."""


class EngineTokens:
    """The legal tokens of one sentence according to an engine: the rule `any` of `LegalTokens`.

    The engine says which tokens are legal. The states that they lead to are the automaton's, so whatever
    reads states works with every engine, and a token that is not legal is noticed at once. States must be
    asked for in the order of one answer; an engine cannot go back.
    """

    def __init__(self, engine: Engine, constraint: SentenceAutomaton, spellings: Spellings) -> None:
        """Raises SentenceError if the engine cannot take the sentence."""
        self.start = constraint.start
        self._constraint = constraint
        self._spellings = spellings
        self._matcher = engine.start(render(constraint, engine.dialect))
        self._tokens_to: dict[State, int] = {}  # state that may come next -> a token that leads to it

    def legal(self, state: State) -> dict[int, State]:
        """The legal token ids, each with the state that it leads to.

        Raises SentenceError if the engine allows a token that is not legal.
        """
        if state in self._tokens_to:
            self._matcher.accept(self._tokens_to[state])
        found = {token_id: self._after(state, token_id) for token_id in self._matcher.legal_ids()}
        self._tokens_to = {after: token_id for token_id, after in found.items()}
        return found

    def _after(self, state: State, token_id: int) -> State:
        if token_id in self._spellings.stop_ids:
            after = END if self._constraint.accepts(state) else DEAD
        else:
            after = self._constraint.advance(state, self._spellings.token_bytes[token_id])
        if after == DEAD:
            piece = self._spellings.token_bytes[token_id]
            raise SentenceError(f"the engine allows token {token_id} ({piece!r}), which is not legal here")
        return after


class WrittenTokens(Protocol):
    """What an engine has to know of a form of the answer (see `constraint.answer_form`)."""

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def controls(self) -> Mapping[int, bytes]:
        """The control tokens that an answer may have."""


class Spellings:
    """A vocabulary as an engine needs it: the bytes of every token that may be written.

    token_bytes: id -> bytes; b"" for tokens that no answer contains: control tokens that spell no tag.
    ids_by_bytes: the inverse.
    """

    def __init__(self, tokens: WrittenTokens) -> None:
        vocabulary = tokens.vocabulary
        never = vocabulary.control_ids - tokens.controls.keys()
        self.stop_ids = vocabulary.stop_ids
        self.token_bytes = [
            b"" if token_id in never else piece for token_id, piece in enumerate(vocabulary.token_bytes)
        ]
        self.ids_by_bytes: dict[bytes, list[int]] = {}
        for token_id, piece in enumerate(self.token_bytes):
            if piece:
                self.ids_by_bytes.setdefault(piece, []).append(token_id)
        self.encode = vocabulary.encode


class Bitmask:
    """One bit per token, as engines that fill masks write it: 32-bit words, lowest bit first."""

    def __init__(self, n_tokens: int) -> None:
        self.words: NDArray[np.int32] = np.zeros((1, (n_tokens + 31) // 32), dtype=np.int32)
        self.n_tokens = n_tokens

    def ids(self) -> list[int]:
        """The tokens whose bit is set, ascending. Most words are 0; only the others are unpacked."""
        words = self.words[0]
        places = np.flatnonzero(words)
        bits = np.unpackbits(words[places].view(np.uint8).reshape(-1, 4), axis=1, bitorder="little")
        rows, columns = np.nonzero(bits)
        ids: list[int] = (32 * places[rows] + columns).tolist()
        return ids
