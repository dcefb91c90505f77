"""The tokens of a model as bytes: id -> bytes, text -> ids, the byte trie, the ids that end an answer.

A back end builds a Vocabulary from its own tokenizer. After that a token is a byte string, whatever the
tokenizer: byte-level BPE (GPT-2, Llama 3, Qwen) or SentencePiece with byte fallback (Llama 2, Phi 3, Gemma).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property

from .errors import UnwritableError

ROOT = 0
_ANCHOR = "\n"  # a byte token in SentencePiece vocabularies, so it never merges with what follows it
_ANCHORED = (_ANCHOR.encode(), b" " + _ANCHOR.encode())
_UTF8_BYTES = (*range(0xC0), *range(0xC2, 0xF5))
_CONTROL_SPELLING = re.compile(
    rb"<(\||\xef\xbd\x9c).*|.*(\||\xef\xbd\x9c)>|\[PAD\d+\]|<pad>|<mask>", re.DOTALL
)


class Trie:
    """A byte trie over token ids.

    edges: (node << 8 | byte) -> node; one flat dict takes a third of the memory of nested ones.
    tokens: node -> the ids that spell the path to it (there may be several: a byte token can repeat a piece).
    """

    def __init__(self, entries: Iterable[tuple[int, bytes]]) -> None:
        self.edges: dict[int, int] = {}
        self.tokens: dict[int, tuple[int, ...]] = {}
        edges, size = self.edges, 1
        for token_id, piece in entries:
            node = ROOT
            for byte in piece:
                key = node << 8 | byte
                child = edges.get(key)
                if child is None:
                    child = edges[key] = size
                    size += 1
                node = child
            self.tokens[node] = (*self.tokens.get(node, ()), token_id)

    def longest_match(self, data: bytes, start: int) -> tuple[int, int] | None:
        """The longest token in data at start, as (id, end); None if no token fits."""
        node, best = ROOT, None
        for at in range(start, len(data)):
            child = self.edges.get(node << 8 | data[at])
            if child is None:
                break
            node = child
            if node in self.tokens:
                best = (self.tokens[node][-1], at + 1)  # pieces come after the byte tokens that they repeat
        return best


class Vocabulary:
    """The tokens of one model.

    token_bytes: the bytes of every id; b"" for a token without text.
    control_ids: ids that are not text (`<|eot_id|>`, a model's own tag tokens). Their bytes, if any, are
        their spelling when special tokens are shown. They are never in the trie.
    stop_ids: ids that end an answer. They are control ids, too.
    bos_id: the id before every text in training, None if there is none. A prompt begins with it, unless the
        template has already written it.
    eos_id: the id that ends a text, None if there is none. Some templates write it after an answer.
    leading_space: whether the tokenizer puts a space before every text (SentencePiece's dummy prefix).
    tokenize: text -> ids, without special tokens. It may add the leading space and may normalise; `encode`
        corrects both.
    tokenize_template: template text -> ids, with special tokens.
    """

    def __init__(
        self,
        token_bytes: Sequence[bytes],
        *,
        control_ids: Collection[int],
        stop_ids: Collection[int],
        tokenize: Callable[[str], list[int]],
        tokenize_template: Callable[[str], list[int]] | None = None,
        leading_space: bool = False,
        bos_id: int | None = None,
        eos_id: int | None = None,
    ) -> None:
        self.token_bytes = tuple(token_bytes)
        self.stop_ids = frozenset(stop_ids)
        self.control_ids = self.stop_ids.union(control_ids)
        self.bos_id = bos_id
        self.eos_id = eos_id
        self.leading_space = leading_space
        self._tokenize = tokenize
        self._tokenize_template = tokenize_template or tokenize

    def __len__(self) -> int:
        return len(self.token_bytes)

    @cached_property
    def trie(self) -> Trie:
        """All tokens that are text. Built on first use: 0.3 s for 128,256 tokens."""
        return Trie(
            (token_id, piece)
            for token_id, piece in enumerate(self.token_bytes)
            if piece and token_id not in self.control_ids
        )

    @cached_property
    def control_by_bytes(self) -> dict[bytes, int]:
        """The control tokens that have a spelling, by that spelling."""
        return {self.token_bytes[i]: i for i in sorted(self.control_ids, reverse=True) if self.token_bytes[i]}

    @cached_property
    def missing_bytes(self) -> tuple[int, ...]:
        """The bytes of UTF-8 that are no token of their own: some characters cannot be written."""
        own = {
            piece[0]
            for token_id, piece in enumerate(self.token_bytes)
            if len(piece) == 1 and token_id not in self.control_ids
        }
        return tuple(byte for byte in _UTF8_BYTES if byte not in own)

    def decode(self, token_ids: Iterable[int]) -> bytes:
        """The concatenated bytes of the tokens; nothing is added or removed."""
        return b"".join(self.token_bytes[i] for i in token_ids)

    def encode(self, text: str) -> list[int]:
        """The model's own tokenisation of the text, verbatim: decode(encode(text)) == text.encode().

        No id is a control id, whatever the text spells. If the tokenizer alters the text (Unicode
        normalisation, unknown characters) or finds a control token in it, both halves of the text are encoded
        separately, and so on down to single characters, which get the longest tokens that fit.
        Raises UnwritableError if a byte is in no token.
        """
        if not text:
            return []
        wanted = text.encode()
        ids = self._bare(self._tokenize, text)
        if self.decode(ids) == wanted and self.control_ids.isdisjoint(ids):
            return ids
        if len(text) == 1:
            return self._encode_greedily(wanted)
        cut = _cut(text)
        try:
            return self.encode(text[:cut]) + self.encode(text[cut:])
        except UnwritableError:  # some byte has no token of its own: perhaps a longer token bridges the cut
            return self._encode_greedily(wanted)

    def encode_template(self, text: str, *, inner: bool = False) -> list[int]:
        """Ids of a chat template's own text; control tokens in it are recognised.

        inner: other text comes before it, so there is no leading space.
        """
        return self._bare(self._tokenize_template, text) if inner else self._tokenize_template(text)

    def _bare(self, tokenize: Callable[[str], list[int]], text: str) -> list[int]:
        """Ids of the text without the tokenizer's leading space."""
        if not self.leading_space:
            return tokenize(text)
        ids = tokenize(_ANCHOR + text)
        for n_anchor in range(1, min(3, len(ids)) + 1):
            if self.decode(ids[:n_anchor]) in _ANCHORED:
                return ids[n_anchor:]
        return ids

    def _encode_greedily(self, data: bytes) -> list[int]:
        ids: list[int] = []
        at = 0
        while at < len(data):
            match = self.trie.longest_match(data, at)
            if match is None:
                raise unwritable(data, at)
            ids.append(match[0])
            at = match[1]
        return ids


def unwritable(data: bytes, at: int) -> UnwritableError:
    """The error for a byte of a text that is in no token, naming the character that it belongs to."""
    start = at
    while start and data[start] & 0xC0 == 0x80:
        start -= 1
    character = data[start : start + 4].decode(errors="ignore")[:1]
    return UnwritableError(
        f"the model's vocabulary cannot write the character {character!a} (U+{ord(character):04X}): "
        f"byte {data[at]:#04x} is in no token"
    )


def looks_like_control(spelling: bytes, chat_template: str | None) -> bool:
    """Whether a token that its tokenizer finds in plain text is nevertheless a control string of a chat.

    True for `<|im_start|>` and the like, for padding such as `[PAD151646]`, and for bracketed strings that
    the model's own chat template writes (`<think>`, `<tool_call>`). False for `<td>`, blanks, words.
    """
    if _CONTROL_SPELLING.fullmatch(spelling):
        return True
    bracketed = spelling[:1] in (b"<", b"[") and spelling[-1:] in (b">", b"]") and len(spelling) > 2
    return bracketed and chat_template is not None and spelling.decode(errors="replace") in chat_template


def _cut(text: str) -> int:
    """Where to cut a text of two or more characters: before the blank nearest its middle, else in the middle.

    Tokens that begin with a blank stay whole this way.
    """
    middle = len(text) // 2
    before, after = text.rfind(" ", 1, middle + 1), text.find(" ", middle)
    return min((at for at in (before, after) if at > 0), key=lambda at: abs(at - middle), default=middle)


def _byte_level_alphabet() -> dict[str, int]:
    """Character -> byte: the inverse of GPT-2's `bytes_to_unicode` (Radford et al. 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


BYTE_LEVEL_ALPHABET = _byte_level_alphabet()


def bytes_of_byte_level(piece: str) -> bytes:
    """Example: bytes_of_byte_level("Ġaspirin") -> b" aspirin". Raises KeyError outside the alphabet."""
    return bytes(map(BYTE_LEVEL_ALPHABET.__getitem__, piece))


def bytes_of_sentencepiece(piece: str) -> bytes:
    """Example: bytes_of_sentencepiece("▁aspirin") -> b" aspirin"; "<0x0A>" -> b"\\n"."""
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        return bytes([int(piece[3:5], 16)])
    return piece.replace("\u2581", " ").encode()
