"""Automaton x vocabulary: the tokens that may come next, each with the state that it leads to.

Two rules, both byte-exact:

any: every token whose bytes the constraint can consume, found by walking the byte trie along the automaton.
    From 5 to 16 tokens out of 128,256.
canonical: copying follows the model's own tokenisation of the remaining text, and leaving that path is legal
    only to place a tag. From 1 to 6 tokens, and the token sequences are those that the model was trained on.
    Where a token runs across a place for a tag, the first token of the text up to that place is legal too.

A space before an opening tag goes into the tag where the vocabulary has it so (` <` or a tag token with a
space of its own), since that is how running text is tokenised. A control token that is spelt exactly like a
tag (of a model trained with tag tokens) stands for that tag.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal, Protocol

from ..data import Mention
from ..vocabulary import ROOT, Vocabulary
from .automaton import DEAD, Constraint, State, TagMachine
from .edges import CLOSE, OPEN

Rule = Literal["canonical", "any"]

END: State = (-1,)
"""The state after a stop token."""

_SPACE = ord(" ")
_OPENS = bytes(flags & OPEN == OPEN for flags in range(256))
_CLOSES = bytes(flags & CLOSE == CLOSE for flags in range(256))
_START, _OUTSIDE = TagMachine.START, TagMachine.OUTSIDE


class TagTokens:
    """How one vocabulary spells the tags of one schema. Shared by all sentences.

    needed: context -> what a place must allow for the first of them: OPEN, CLOSE or 0.
    after: context -> [(token id, context after it)] for tokens that hold bytes of tags alone.
    after_space: the same from OUTSIDE, for tokens that begin with one space of the sentence.
    controls: token id -> tag, for control tokens that stand for a tag (with or without a space).
    """

    def __init__(self, machine: TagMachine, vocabulary: Vocabulary) -> None:
        self.machine = machine
        self.vocabulary = vocabulary
        self.controls: dict[int, bytes] = {}
        self.needed = [
            OPEN if context <= _OUTSIDE else CLOSE if context in machine.inside_contexts else 0
            for context in range(machine.n_contexts)
        ]
        self.after: list[list[tuple[int, int]]] = [[] for _ in range(machine.n_contexts)]
        self.after_space: list[tuple[int, int]] = []
        for entity_type in machine.markup.types:
            opening = machine.markup.open_tag(entity_type)
            self._add(_OUTSIDE, self._spelling(opening))
            self._add_spaced(self._spelling(" " + opening), self._spelling(opening))
            self._add(machine.inside[entity_type], self._spelling(machine.markup.close_tag(entity_type)))
        self._add_from_within()
        self.after[_START] = self.after[_OUTSIDE]
        self.first_token = lru_cache(maxsize=65536)(self._first_token)

    def _spelling(self, tag: str) -> list[int]:
        control = self.vocabulary.control_by_bytes.get(tag.encode())
        if control is None:
            return self.vocabulary.encode(tag)
        self.controls[control] = tag.encode()
        return [control]

    def _add(self, context: int, token_ids: Sequence[int]) -> None:
        for token_id in token_ids:
            after = context
            for byte in self.vocabulary.token_bytes[token_id]:
                after = self.machine.tags[after][byte][0]
            if (token_id, after) not in self.after[context]:
                self.after[context].append((token_id, after))
            context = after

    def _add_spaced(self, spaced: Sequence[int], bare: Sequence[int]) -> None:
        first, *rest = spaced
        in_tag = self.vocabulary.token_bytes[first][1:]
        if not in_tag or (bare[0] in self.controls and first not in self.controls):
            return  # the space is a token of its own, or tag tokens come without it
        context = _OUTSIDE
        for byte in in_tag:
            context = self.machine.tags[context][byte][0]
        if (first, context) not in self.after_space:
            self.after_space.append((first, context))
        self._add(context, rest)

    def _add_from_within(self) -> None:
        """Spellings of the rest of a tag, for contexts that only a token of the sentence leads into.

        Example: in a sentence that spells `><`, the token b"><" may be text and the first byte of `</drug>`.
        """
        spelt = {context for context, tokens in enumerate(self.after) if tokens}
        machine = self.machine
        for entity_type, inside in machine.inside.items():
            opening = machine.markup.open_tag(entity_type)
            closing = machine.markup.close_tag(entity_type)
            for start, tag in ((_OUTSIDE, opening), (inside, closing)):
                context = start
                for at, byte in enumerate(tag.encode()[:-1], start=1):
                    context = machine.tags[context][byte][0]
                    if context not in spelt and tag.encode() not in self.controls.values():
                        self._add(context, self.vocabulary.encode(tag[at:]))

    def _first_token(self, text: str) -> int:
        return self.vocabulary.encode(text)[0]


class LegalSets(Protocol):
    """What decoding step by step asks for: the legal tokens of one sentence, here or from another engine."""

    @property
    def start(self) -> State: ...

    def legal(self, state: State) -> dict[int, State]:
        """The legal token ids with the state that each leads to; stop tokens lead to END. Never empty."""


class LegalTokens:
    """The legal tokens of one sentence."""

    def __init__(self, constraint: Constraint, tag_tokens: TagTokens, rule: Rule = "canonical") -> None:
        self.constraint = constraint
        self.start = constraint.start
        self.tag_tokens = tag_tokens
        self.vocabulary = tag_tokens.vocabulary
        self.rule = rule
        self._path: dict[int, tuple[int, int]] = {}  # position -> the token that copies on from it, its end
        self._opens, self._closes = constraint.edges.translate(_OPENS), constraint.edges.translate(_CLOSES)
        self._space_in_tag = bool(tag_tokens.after_space)
        # Without the first byte of a tag in the sentence, no state ever has two items.
        self._unambiguous = constraint.machine.tag_starts.isdisjoint(constraint.data)
        # Except at the start: a space may be the tokenizer's own, or the sentence's.
        forks = constraint.start[0] == _START and constraint.data.startswith(b" ")
        self._fork: State = constraint.start if forks else DEAD

    def legal(self, state: State) -> dict[int, State]:
        """The legal token ids with the state that each leads to. Never empty for a state that can be reached.

        Example: text "ab" at its start -> the ids of b"ab", b"<drug>", ... (canonical), and b"a" (any).
        """
        found: dict[int, State] = {}
        if self.rule == "canonical":
            found = self._canonical(state)
        if not found:
            found = self._any(state)
        if self.constraint.accepts(state):
            found.update(dict.fromkeys(sorted(self.vocabulary.stop_ids), END))
        return found

    def copying_token(self, state: State) -> tuple[int, State] | None:
        """The token that goes on copying, as the model itself would tokenise the text; None at the end."""
        if self.constraint.accepts(state):
            return None
        for item in reversed(state):  # where the sentence spells a tag: it was copied rather than placed
            for token_id, _ in self._copying(item):
                if after := self._advance_token(state, token_id):
                    return token_id, after
        return None

    def _stays_single(self, state: State) -> bool:
        """Whether the state has one item, and so has every state after it: no need for sets of items."""
        return len(state) == 1 and self._unambiguous and state != self._fork

    # ---- canonical

    def _canonical(self, state: State) -> dict[int, State]:
        if self._stays_single(state):
            item = state[0]
            n, copies = self.constraint.machine.n_contexts, self.constraint.machine.copies
            copied = copies[item % n]
            found: dict[int, State] = {t: (end * n + copied,) for t, end in self._copying(item)}
            for token_id, after in self._tagging(item):
                found[token_id] = (after,)
            return found
        candidates = [
            token_id for item in state for token_id, _ in (*self._copying(item), *self._tagging(item))
        ]
        steps = ((token_id, self._advance_token(state, token_id)) for token_id in candidates)
        return {token_id: after for token_id, after in steps if after != DEAD}

    def _advance_token(self, state: State, token_id: int) -> State:
        return self.constraint.advance(state, self.vocabulary.token_bytes[token_id])

    def _tagging(self, item: int) -> list[tuple[int, int]]:
        """Tokens that begin or continue a tag, with the item that each leads to."""
        constraint, tag_tokens = self.constraint, self.tag_tokens
        n = constraint.machine.n_contexts
        position, context = divmod(item, n)
        found: list[tuple[int, int]] = []
        needed = tag_tokens.needed[context]
        if constraint.edges[position] & needed == needed:
            base = item - context
            found = [(token_id, base + after) for token_id, after in tag_tokens.after[context]]
        if context == _OUTSIDE and position < constraint.n_bytes and constraint.data[position] == _SPACE:
            spaced_at = position + 1
        elif context == _START:
            spaced_at = position  # the space is the tokenizer's own
        else:
            return found
        if constraint.edges[spaced_at] & OPEN:
            found += [(token_id, spaced_at * n + after) for token_id, after in tag_tokens.after_space]
        return found

    def _copying(self, item: int) -> list[tuple[int, int]]:
        """Tokens that copy on, with the place that each leads to.

        The model's own next one, then shorter ones up to places for a tag.
        """
        constraint = self.constraint
        position, context = divmod(item, constraint.machine.n_contexts)
        if constraint.machine.copies[context] < 0 or position >= constraint.n_bytes:
            return []
        after_own_space = self._copying_after_own_space() if context == _START else []
        token_id, end = self._path.get(position) or self._next_on_path(position)
        if context <= _OUTSIDE:
            tokens = [*after_own_space, (token_id, end)]
            places, space_in_tag = self._opens, self._space_in_tag
        else:
            # Past its last place to close, a mention could never end.
            tokens = [(token_id, end)] if end <= constraint.last_close else []
            places, space_in_tag = self._closes, False
        place = places.find(1, position + 1, end)
        while place >= 0:
            cut = place - 1 if space_in_tag and constraint.data[place - 1] == _SPACE else place
            if cut > position:
                tokens.append(self._first_up_to(position, cut))
            place = places.find(1, place + 1, end)
        return tokens

    def _copying_after_own_space(self) -> list[tuple[int, int]]:
        """The first tokens of the text with the tokenizer's own space before it, as `_copying` has them."""
        constraint, token_bytes = self.constraint, self.vocabulary.token_bytes
        whole, *others = self.vocabulary.encode(" " + constraint.text)
        end = len(token_bytes[whole]) - 1
        tokens = [(whole, end)]
        for place in range(end):
            if self._opens[place]:
                follows_space = not place or constraint.data[place - 1] == _SPACE
                cut = place - 1 if self._space_in_tag and follows_space else place
                if cut >= 0:
                    token_id = self.tag_tokens.first_token(" " + constraint.data[:cut].decode())
                    tokens.append((token_id, len(token_bytes[token_id]) - 1))
        self._add_to_path(end, others)
        return tokens

    def _first_up_to(self, position: int, cut: int) -> tuple[int, int]:
        piece = self.constraint.data[position:cut]
        try:
            token_id = self.tag_tokens.first_token(piece.decode())
        except UnicodeDecodeError:  # begins inside a character: byte tokens
            return self._longest(position, cut)
        return token_id, position + len(self.vocabulary.token_bytes[token_id])

    def _next_on_path(self, position: int) -> tuple[int, int]:
        if position not in self._path:
            self._extend_path(position)
        return self._path.get(position) or self._longest(position)

    def _extend_path(self, position: int) -> None:
        """Tokenise the text from here on, until it meets what has been tokenised before."""
        data = self.constraint.data
        # Two words are nearly always enough for that; the rest of the sentence costs ten times as much.
        two_words = data.find(b" ", data.find(b" ", position + 1) + 1 or len(data)) if self._path else -1
        try:
            if two_words < 0 or not self._add_to_path(
                position, self.vocabulary.encode(data[position:two_words].decode()), must_meet=True
            ):
                self._add_to_path(position, self.vocabulary.encode(data[position:].decode()))
        except UnicodeDecodeError:
            return  # begins inside a character

    def _add_to_path(self, position: int, token_ids: Iterable[int], *, must_meet: bool = False) -> bool:
        """Whether the tokens were added: all of them up to a place that is on the path already, or all."""
        path, token_bytes = self._path, self.vocabulary.token_bytes
        steps: dict[int, tuple[int, int]] = {}
        for token_id in token_ids:
            if position in path:
                break
            end = position + len(token_bytes[token_id])
            steps[position] = (token_id, end)
            position = end
        if must_meet and position not in path:
            return False
        path.update(steps)
        return True

    def _longest(self, position: int, cut: int | None = None) -> tuple[int, int]:
        match = self.vocabulary.trie.longest_match(self.constraint.data[:cut], position)
        if match is None:
            raise ValueError(f"byte {self.constraint.data[position]:#04x} is in no token of the vocabulary")
        return match

    # ---- any

    def _any(self, state: State) -> dict[int, State]:
        """Every token whose bytes fit: trie and automaton walked together, depth first."""
        found = self._walk_item(state[0]) if self._stays_single(state) else self._walk(state)
        for token_id in self.tag_tokens.controls:  # they are not in the trie
            after = self._advance_token(state, token_id)
            if after != DEAD:
                found[token_id] = after
        return found

    def _walk(self, state: State) -> dict[int, State]:
        found: dict[int, State] = {}
        trie = self.vocabulary.trie
        stack = [(ROOT, state)]
        while stack:
            node, at = stack.pop()
            for byte, after in self.constraint.next_bytes(at).items():
                child = trie.edges.get(node << 8 | byte)
                if child is not None:
                    found.update(dict.fromkeys(trie.tokens.get(child, ()), after))
                    stack.append((child, after))
        return found

    def _walk_item(self, item: int) -> dict[int, State]:
        """`_walk` for a state of one item that stays one: the same result without building sets of items."""
        constraint, machine, trie = self.constraint, self.constraint.machine, self.vocabulary.trie
        n, tags, copies, places = machine.n_contexts, machine.tags, machine.copies, constraint.edges
        found: dict[int, State] = {}
        stack = [(ROOT, *divmod(item, n))]
        while stack:
            node, position, context = stack.pop()
            moves = [
                (byte, position, after)
                for byte, (after, needed) in tags[context].items()
                if places[position] & needed == needed
            ]
            inside = context in machine.inside_contexts
            if copies[context] >= 0 and position < (constraint.last_close if inside else constraint.n_bytes):
                moves.append((constraint.data[position], position + 1, copies[context]))
            for byte, to, after in moves:
                child = trie.edges.get(node << 8 | byte)
                if child is not None:
                    for token_id in trie.tokens.get(child, ()):
                        found[token_id] = (to * n + after,)
                    stack.append((child, to, after))
        return found

    # ---- writing

    def encode(self, mentions: Iterable[Mention]) -> Iterator[tuple[int, dict[int, State]]]:
        """The answer that marks these mentions, token by token, each with the set that it was chosen from.

        What training writes and what a prompt's examples show: the very tokens that decoding would take.
        The last one is a stop token. Raises ValueError where the tagged text is not a legal answer.
        """
        constraint, token_bytes = self.constraint, self.vocabulary.token_bytes
        answer = constraint.machine.markup.write(constraint.text, mentions).encode()
        if constraint.start[0] == _START:
            answer = b" " + answer
        state, at = constraint.start, 0
        while True:
            legal = self.legal(state)
            if at == len(answer) and constraint.accepts(state):
                yield min(self.vocabulary.stop_ids), legal
                return
            fitting = [
                token_id
                for token_id, after in legal.items()
                if after != END and answer.startswith(token_bytes[token_id], at)
            ]
            if not self._unambiguous:  # a token that fits may be text where the answer goes on with a tag
                fitting = [
                    token_id
                    for token_id in fitting
                    if self._reaches_end(legal[token_id], answer[at + len(token_bytes[token_id]) :])
                ]
            if not fitting:
                raise ValueError(f"{answer.decode()!r} is not a legal answer (at byte {at})")
            token_id = max(fitting, key=lambda i: len(token_bytes[i]))
            yield token_id, legal
            at += len(token_bytes[token_id])
            state = legal[token_id]

    def _reaches_end(self, state: State, rest: bytes) -> bool:
        return self.constraint.accepts(self.constraint.advance(state, rest))
