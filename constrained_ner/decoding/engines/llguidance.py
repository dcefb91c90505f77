"""llguidance: the engine of Guidance, and of vLLM, SGLang and llama.cpp if they are built with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...constraint.grammars import Dialect
from ...errors import MissingExtraError, SentenceError
from .protocol import Bitmask, Spellings

try:
    import llguidance
    import llguidance.numpy
except ImportError:
    raise MissingExtraError("llguidance", "engines") from None


_EVERY_TOKEN = '%llguidance {"no_forcing": true}\n'
"""Without it, text that can continue in only one way must do so in the tokenizer's own tokens."""


class LlguidanceEngine:
    """Takes Lark. An Earley parser and lazily built lexers fill a bit mask for each token."""

    dialect: Dialect = "lark"

    def __init__(self, spellings: Spellings) -> None:
        self._tokenizer = llguidance.LLTokenizer(
            llguidance.TokenizerWrapper(_Tokens(spellings)), eos_token=sorted(spellings.stop_ids)
        )
        self._mask = Bitmask(len(spellings.token_bytes))

    def start(self, grammar: str) -> LlguidanceMatcher:
        matcher = llguidance.LLMatcher(
            self._tokenizer, llguidance.LLMatcher.grammar_from_lark(_EVERY_TOKEN + grammar), log_level=0
        )
        return LlguidanceMatcher(matcher, self._mask)


class LlguidanceMatcher:
    def __init__(self, matcher: Any, mask: Bitmask) -> None:
        self._matcher = matcher
        self._mask = mask
        self._check()

    def legal_ids(self) -> Sequence[int]:
        llguidance.numpy.fill_next_token_bitmask(self._matcher, self._mask.words)
        self._check()
        return self._mask.ids()

    def accept(self, token_id: int) -> None:
        self._matcher.consume_token(token_id)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise SentenceError(f"llguidance cannot go on: {self._matcher.get_error()}")


class _Tokens:
    """What llguidance requires of a tokenizer."""

    def __init__(self, spellings: Spellings) -> None:
        self.tokens = spellings.token_bytes
        self.special_token_ids = sorted(spellings.stop_ids)
        self.eos_token_id = self.special_token_ids[0]
        self.bos_token_id = None
        self._encode = spellings.encode

    def __call__(self, text: str) -> list[int]:
        return self._encode(text)
