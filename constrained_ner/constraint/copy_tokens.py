"""The tokens that copy the sentence, as the model itself tokenises it.

At each position this is the next token of the model's own tokenisation of the remaining text. If that token
runs across a place for a tag, the first token of the text up to that place is allowed too.

Tokenising is lazy: the text is tokenised once, and again for a few words after an answer has left that path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..vocabulary import Vocabulary, unwritable
from .automaton import Constraint, TagMachine
from .edges import CLOSE, OPEN
from .sentence_automaton import SentenceAutomaton
from .tag_tokens import TagTokens

_START = TagMachine.START
_SPACE = ord(" ")
_LONG = 256  # bytes: no two words are longer
_OPENS = bytes(flags & OPEN == OPEN for flags in range(256))
_CLOSES = bytes(flags & CLOSE == CLOSE for flags in range(256))

TokenTo = tuple[int, int]
"""A token id, and the byte position that the token leads to."""


class OwnTokens:
    """The model's own tokens of one sentence, from any position on.

    first_token: text -> the first token of its tokenisation, cached.
    """

    def __init__(
        self, automaton: SentenceAutomaton, vocabulary: Vocabulary, first_token: Callable[[str], int]
    ) -> None:
        self._automaton = automaton
        self._vocabulary = vocabulary
        self._first_token = first_token
        self._path: dict[int, TokenTo] = {}  # position -> the model's own next token
        self._opens, self._closes = automaton.edges.translate(_OPENS), automaton.edges.translate(_CLOSES)

    def within_name(self, position: int) -> list[TokenTo]:
        """The tokens that continue a mention: the model's own next one, then shorter ones up to its end."""
        token_id, end = self._path.get(position) or self._next_on_path(position)
        # A mention that is still open after the last place to close could never end.
        tokens = [(token_id, end)] if end <= self._automaton.last_close else []
        place = self._closes.find(1, position + 1, end)
        while place >= 0:
            tokens.append(self._first_up_to(position, place))
            place = self._closes.find(1, place + 1, end)
        return tokens

    def name_after_space(self, place: int) -> list[int]:
        """The tokens that write a space that is not the sentence's, and begin the name after it."""
        data, token_bytes = self._automaton.data, self._vocabulary.token_bytes
        two_words = data.find(b" ", data.find(b" ", place + 1) + 1 or self._automaton.n_bytes)
        following = data[place : two_words if 0 < two_words <= place + _LONG else place + _LONG]
        whole = self._first_token(" " + following.decode(errors="ignore"))
        found = [whole]
        end = place + len(token_bytes[whole]) - 1
        close = self._closes.find(1, place + 1, end)
        while close >= 0:
            found.append(self._first_token(" " + data[place:close].decode()))
            close = self._closes.find(1, close + 1, end)
        return found

    def _first_up_to(self, position: int, cut: int) -> TokenTo:
        piece = self._automaton.data[position:cut]
        try:
            token_id = self._first_token(piece.decode())
        except UnicodeDecodeError:  # begins inside a character: byte tokens
            token_id, length = self._longest(piece, 0)
            return token_id, position + length
        return token_id, position + len(self._vocabulary.token_bytes[token_id])

    def _next_on_path(self, position: int) -> TokenTo:
        if position not in self._path:
            self._extend_path(position)
        return self._path.get(position) or self._longest(self._automaton.data, position)

    def _extend_path(self, position: int) -> None:
        """Tokenise the text from here on until it meets what has been tokenised before."""
        data, encode = self._automaton.data, self._vocabulary.encode
        try:
            for end, meet_by in self._windows(position) if self._path else ():
                if self._add_to_path(position, encode(data[position:end].decode()), meet_by=meet_by):
                    return
            self._add_to_path(position, encode(data[position:].decode()))
        except UnicodeDecodeError:
            return  # begins inside a character

    def _windows(self, position: int) -> Iterator[tuple[int, int]]:
        """Ends of pieces of the text to tokenise, growing, each with the place up to which its tokens count.

        Two words are nearly always enough, and the rest of the text costs ten times as much or more. Tokens
        do not change at a space. In text without spaces they may change near the cut, so half of them count.
        """
        data, n_bytes = self._automaton.data, self._automaton.n_bytes
        two_words = data.find(b" ", data.find(b" ", position + 1) + 1 or n_bytes)
        if 0 < two_words <= position + _LONG:
            yield two_words, two_words
        size = _LONG
        while position + size < n_bytes:
            end = data.rfind(b" ", position + size // 2, position + size)
            if end > 0:
                yield end, end
            else:
                end = position + size
                while data[end] & 0xC0 == 0x80:  # not inside a character
                    end -= 1
                yield end, position + size // 2
            size *= 2

    def _add_to_path(self, position: int, token_ids: Iterable[int], *, meet_by: int | None = None) -> bool:
        """Add the tokens up to a place that is on the path already; return whether they were added.

        meet_by: add nothing unless they meet the path here or before.
        """
        path, token_bytes = self._path, self._vocabulary.token_bytes
        steps: dict[int, TokenTo] = {}
        for token_id in token_ids:
            if position in path:
                break
            end = position + len(token_bytes[token_id])
            steps[position] = (token_id, end)
            position = end
        if meet_by is not None and (position not in path or position > meet_by):
            return False
        path.update(steps)
        return True

    def _longest(self, data: bytes, position: int) -> TokenTo:
        match = self._vocabulary.trie.longest_match(data, position)
        if match is None:
            raise unwritable(data, position)
        return match


class CopyTokens(OwnTokens):
    """The tokens that copy one sentence, with tags."""

    def __init__(self, constraint: Constraint, tag_tokens: TagTokens) -> None:
        super().__init__(constraint, tag_tokens.vocabulary, tag_tokens.first_token)
        self._constraint = constraint
        self._space_in_tag = bool(tag_tokens.after_space)

    def after(self, position: int, context: int) -> list[TokenTo]:
        """The tokens that copy on: the model's own next one, then shorter ones up to places for tags."""
        constraint = self._constraint
        if constraint.machine.copies[context] < 0 or position >= constraint.n_bytes:
            return []
        if context in constraint.machine.mention_contexts:
            return self.within_name(position)
        tokens = self._after_own_space() if context == _START else []
        token_id, end = self._path.get(position) or self._next_on_path(position)
        tokens.append((token_id, end))
        place = self._opens.find(1, position + 1, end)
        while place >= 0:
            cut = place - 1 if self._space_in_tag and constraint.data[place - 1] == _SPACE else place
            if cut > position:
                tokens.append(self._first_up_to(position, cut))
            place = self._opens.find(1, place + 1, end)
        return tokens

    def _after_own_space(self) -> list[TokenTo]:
        """The first tokens of the text with the tokenizer's own space before it, as `after` has them."""
        constraint, token_bytes = self._constraint, self._vocabulary.token_bytes
        whole, *others = self._vocabulary.encode(" " + constraint.text)
        end = len(token_bytes[whole]) - 1
        tokens = [(whole, end)]
        for place in range(end):
            if self._opens[place]:
                follows_space = not place or constraint.data[place - 1] == _SPACE
                cut = place - 1 if self._space_in_tag and follows_space else place
                if cut >= 0:
                    token_id = self._first_token(" " + constraint.data[:cut].decode())
                    tokens.append((token_id, len(token_bytes[token_id]) - 1))
        self._add_to_path(end, others)
        return tokens
