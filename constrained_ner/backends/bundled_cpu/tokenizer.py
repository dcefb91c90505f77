"""Byte-level BPE read from a GGUF's metadata: the ids of llama.cpp, without llama.cpp.

Text is split into words as GPT-2 does (Radford et al. 2019), each word into bytes, and the pair of neighbours
that was merged first in training is merged first (Sennrich et al. 2016).

    "on aspirin" -> "on", " aspirin" -> o n, Ġ a s p i r i n -> on, Ġas pirin
"""

from __future__ import annotations

import heapq
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from ...errors import ModelError
from ...vocabulary import BYTE_LEVEL_ALPHABET, Vocabulary, bytes_of_byte_level
from ..gguf_file import GgufFile

_NORMAL, _CONTROL = 1, 3  # types of tokens in GGUF
_CHARACTERS = {byte: character for character, byte in BYTE_LEVEL_ALPHABET.items()}
_CACHED_WORDS = 1 << 16
_WHITE_SPACE = frozenset("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000").union(
    map(chr, range(0x2000, 0x200B))
)

_WORDS = re.compile(r"'(?:[stmd]|re|ve|ll)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", re.ASCII)
"""GPT-2's words in text where an ASCII character of the same class stands for every other character."""


class _Classes(dict[int, str]):
    """Code point -> an ASCII character of its class: a letter, a digit, white space or none of them."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if code < 128:
            found = character
        elif character in _WHITE_SPACE:
            found = "\t"
        else:
            found = {"L": "A", "N": "0"}.get(unicodedata.category(character)[0], "!")
        self[code] = found
        return found


_CLASSES = _Classes()


def split_words(text: str) -> list[str]:
    """Example: split_words("it's 5 mg") -> ["it", "'s", " 5", " mg"]."""
    if text.isascii():
        return _WORDS.findall(text)
    return [text[word.start() : word.end()] for word in _WORDS.finditer(text.translate(_CLASSES))]


class BytePairTokenizer:
    """Text to ids.

    merges: pairs as "left right", the first learned first. control: the tokens that only templates contain.
    """

    def __init__(self, tokens: Sequence[str], merges: Sequence[str], control: Sequence[str]) -> None:
        self._ids = {token: token_id for token_id, token in enumerate(tokens)}
        self._ranks = {tuple(merge.split(" ", 1)): rank for rank, merge in enumerate(merges)}
        longest_first = sorted(control, key=len, reverse=True)
        self._control = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")") if control else None
        self._word_ids = lru_cache(_CACHED_WORDS)(self._merged)

    def encode(self, text: str) -> list[int]:
        """The ids of text; control tokens that it spells stay text."""
        ids: list[int] = []
        for word in split_words(text):
            ids += self._word_ids(word)
        return ids

    def encode_template(self, text: str) -> list[int]:
        """The ids of a template's text, with its control tokens."""
        if self._control is None:
            return self.encode(text)
        ids: list[int] = []
        for n, piece in enumerate(self._control.split(text)):
            ids += [self._ids[piece]] if n % 2 else self.encode(piece)
        return ids

    def _merged(self, word: str) -> tuple[int, ...]:
        """The ids of one word: a queue of pairs, and the parts as a linked list; n log n for n bytes."""
        parts: list[str] = [_CHARACTERS[byte] for byte in word.encode()]
        following = [*range(1, len(parts) + 1)]
        before = [*range(-1, len(parts) - 1)]
        queue: list[tuple[int, int, str, str]] = []

        def offer(left: int, right: int) -> None:
            if left >= 0 and right < len(parts):
                rank = self._ranks.get((parts[left], parts[right]))
                if rank is not None:
                    heapq.heappush(queue, (rank, left, parts[left], parts[right]))

        for left in range(len(parts) - 1):
            offer(left, left + 1)
        while queue:
            _, left, first, second = heapq.heappop(queue)
            right = following[left]
            if right >= len(parts) or (parts[left], parts[right]) != (first, second):
                continue  # one of the two has been merged since
            parts[left], parts[right] = first + second, ""
            following[left] = after = following[right]
            if after < len(parts):
                before[after] = left
            offer(before[left], left)
            offer(left, after)
        return tuple(self._ids[part] for part in parts if part)


def vocabulary_of_gguf(file: GgufFile) -> Vocabulary:
    """The vocabulary of a GGUF with GPT-2's tokenizer, the same as through llama.cpp.

    Raises ModelError for another kind of tokenizer, or tokens that are neither text nor control.
    """

    def field(name: str, default: object = None) -> object:
        return file.metadata.get(f"tokenizer.ggml.{name}", default)

    tokens, merges, kinds = field("tokens"), field("merges"), field("token_type")
    if (field("model"), field("pre")) != ("gpt2", "gpt-2") or not (
        isinstance(tokens, list) and isinstance(merges, list) and isinstance(kinds, list)
    ):
        raise ModelError(f"{file.path}: not GPT-2's tokenizer, which is the only one that bundled-cpu has")
    if not set(kinds) <= {_NORMAL, _CONTROL}:
        raise ModelError(f"{file.path}: bundled-cpu takes tokens of text and control tokens, no others")
    control = [token_id for token_id, kind in enumerate(kinds) if kind == _CONTROL]
    tokenizer = BytePairTokenizer(tokens, merges, [tokens[token_id] for token_id in control])
    bos, eos = field("bos_token_id"), field("eos_token_id")
    is_control = set(control)
    return Vocabulary(
        [
            token.encode() if token_id in is_control else bytes_of_byte_level(token)
            for token_id, token in enumerate(tokens)
        ],
        control_ids=control,
        stop_ids=[end for end in (eos, field("eot_token_id")) if isinstance(end, int)],
        tokenize=tokenizer.encode,
        tokenize_template=tokenizer.encode_template,
        bos_id=bos if isinstance(bos, int) and field("add_bos_token", False) else None,
        eos_id=eos if isinstance(eos, int) else None,
    )
