"""XGrammar: the engine of MLC, and the default of vLLM and SGLang."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...constraint.grammars import Dialect
from ...errors import MissingExtraError, SentenceError
from .protocol import Bitmask, Spellings

try:
    import xgrammar
except ImportError:
    raise MissingExtraError("xgrammar", "engines") from None


class XgrammarEngine:
    """Takes GBNF. A pushdown automaton with masks computed in advance for each grammar."""

    dialect: Dialect = "gbnf"

    def __init__(self, spellings: Spellings) -> None:
        info = xgrammar.TokenizerInfo(
            spellings.token_bytes, xgrammar.VocabType.RAW, stop_token_ids=sorted(spellings.stop_ids)
        )
        # No two sentences have the same grammar, so a cache would only grow.
        self._compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self._mask = Bitmask(len(spellings.token_bytes))

    def start(self, grammar: str) -> XgrammarMatcher:
        try:
            compiled = self._compiler.compile_grammar(grammar)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise SentenceError(f"xgrammar cannot compile the sentence's grammar: {reason}") from None
        return XgrammarMatcher(xgrammar.GrammarMatcher(compiled), self._mask)


class XgrammarMatcher:
    def __init__(self, matcher: Any, mask: Bitmask) -> None:
        self._matcher = matcher
        self._mask = mask

    def legal_ids(self) -> Sequence[int]:
        if not self._matcher.fill_next_token_bitmask(self._mask.words):
            self._mask.words.fill(-1)  # all tokens are legal
        return self._mask.ids()

    def accept(self, token_id: int) -> None:
        if not self._matcher.accept_token(token_id):
            raise SentenceError(f"xgrammar refuses token {token_id}, which it allowed before")
