"""outlines-core: the engine of Outlines. A regular expression becomes an index of all states and tokens.

Outlines' own generators are not used: they read the vocabulary as text, which loses tokens that are parts of
characters, and each of them builds it again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...constraint.grammars import Dialect
from ...errors import MissingExtraError, SentenceError
from .protocol import Spellings

try:
    import outlines_core
except ImportError:
    raise MissingExtraError("outlines", "engines") from None


MAX_CHARACTERS = 80_000
"""14 words with four types: 5 s with 8,000 tokens, minutes with 128,000."""

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\x00")  # as `grammars.regex` writes it


class OutlinesEngine:
    """Takes regular expressions: short sentences only, seconds for each with a large vocabulary.

    Its index drops tokens that would continue a complete answer, but a complete answer may be the beginning
    of another: "a <" of "a <drug><</drug>". So every answer ends with NUL here, spelt by the stop tokens.
    """

    dialect: Dialect = "regex"

    def __init__(self, spellings: Spellings) -> None:
        stop_ids = sorted(spellings.stop_ids)
        ids_by_bytes = {p: ids for p, ids in spellings.ids_by_bytes.items() if b"\0" not in p}
        unused_end = len(spellings.token_bytes)
        self._vocabulary = outlines_core.Vocabulary(unused_end, {**ids_by_bytes, b"\0": stop_ids})

    def start(self, grammar: str) -> OutlinesMatcher:
        if len(grammar) > MAX_CHARACTERS:
            raise SentenceError(
                f"its regular expression has {len(grammar)} characters; more than {MAX_CHARACTERS} take "
                "minutes to compile: use llguidance or xgrammar"
            )
        if _NUL.search(grammar):
            raise SentenceError("it contains NUL, which marks the end of an answer here: use llguidance")
        try:
            index = outlines_core.Index(f"(?:{grammar})\\x00", self._vocabulary)
        except ValueError as error:
            raise SentenceError(f"outlines-core cannot compile the regular expression: {error}") from None
        return OutlinesMatcher(outlines_core.Guide(index))


class OutlinesMatcher:
    def __init__(self, guide: outlines_core.Guide) -> None:
        self._guide = guide

    def legal_ids(self) -> Sequence[int]:
        return sorted(self._guide.get_tokens())

    def accept(self, token_id: int) -> None:
        self._guide.advance(token_id, return_tokens=False)
