"""Automaton x vocabulary: the tokens that may come next, each with the state that it leads to.

There are two rules for tokenising a legal answer. Both keep every byte.

any: every token whose bytes the constraint can consume, found by walking the byte trie along the automaton.
    5 to 16 tokens out of 128,256.
canonical: copying follows the model's own tokenisation of the remaining text (`copy_tokens`), and only a tag
    may leave that path (`tag_tokens`). 1 to 6 tokens, in the sequences that the model was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, Protocol

from ..data import Mention
from ..vocabulary import ROOT, Trie, Vocabulary
from .automaton import DEAD, END, Constraint, State, TagMachine, is_single
from .copy_tokens import CopyTokens
from .edges import OPEN
from .sentence_automaton import SentenceAutomaton
from .tag_tokens import TagTokens

__all__ = [
    "END",
    "LegalSets",
    "LegalTokenSets",
    "LegalTokens",
    "TokenRule",
    "encode_answer",
    "tokens_that_fit",
]

TokenRule = Literal["canonical", "any"]

_SPACE = ord(" ")
_START, _OUTSIDE = TagMachine.START, TagMachine.OUTSIDE


def tokens_that_fit(automaton: SentenceAutomaton, trie: Trie, state: State) -> dict[int, State]:
    """Every token whose bytes fit, with the state it leads to: trie and automaton walked together."""
    moves, child_of, tokens_of = automaton.moves, trie.edges.get, trie.tokens.get
    found: dict[int, State] = {}
    stack = [(ROOT, item) for item in state]
    while stack:
        node, item = stack.pop()
        for byte, after in moves(item):
            child = child_of(node << 8 | byte)
            if child is not None:
                for token_id in tokens_of(child, ()):
                    found[token_id] = (*found[token_id], after) if token_id in found else (after,)
                stack.append((child, after))
    return {
        token_id: items if len(items) == 1 else automaton.state(items) for token_id, items in found.items()
    }


class LegalSets(Protocol):
    """What stepwise decoding needs: the legal tokens of one sentence, from here or from another engine."""

    @property
    def start(self) -> State: ...

    def legal(self, state: State) -> dict[int, State]:
        """The legal token ids, each with the state that it leads to; stop tokens lead to END. Never empty."""


class LegalTokenSets(LegalSets, Protocol):
    """The legal tokens of one sentence in some form of the answer: what decoding, training and prompts need.

    end_ids: the tokens that end an answer.
    """

    @property
    def constraint(self) -> SentenceAutomaton: ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def end_ids(self) -> frozenset[int]: ...

    def copying_token(self, state: State) -> int | None:
        """The token that copies on, as the model itself tokenises the text; None where none does."""

    def encode(self, mentions: Iterable[Mention]) -> Iterator[tuple[int, dict[int, State]]]:
        """The answer that has these mentions, token by token, each with the legal set it was chosen from.

        This is what training writes and what a prompt's examples show: the tokens that decoding would take.
        The last one is a stop token. Raises ValueError if it is not a legal answer.
        """


class LegalTokens:
    """The legal tokens of one sentence."""

    def __init__(self, constraint: Constraint, tag_tokens: TagTokens, rule: TokenRule = "canonical") -> None:
        self.constraint = constraint
        self.start = constraint.start
        self.tag_tokens = tag_tokens
        self.vocabulary = tag_tokens.vocabulary
        self.end_ids = self.vocabulary.stop_ids
        self.rule = rule
        self._copy_tokens = CopyTokens(constraint, tag_tokens)
        # Without the first byte of a tag in the sentence, every state is a single item,
        self._unambiguous = constraint.machine.tag_starts.isdisjoint(constraint.data)
        # except after the start: a space may be the tokenizer's own, or the sentence's.
        forks = constraint.leading_space and constraint.data.startswith(b" ")
        self._fork: State = constraint.start if forks else DEAD

    def legal(self, state: State) -> dict[int, State]:
        """The legal token ids, each with the state that it leads to. Never empty for a reachable state.

        Example: text "ab" at its start -> the ids of b"ab", b"<drug>", ... (canonical), and b"a" (any).
        """
        found: dict[int, State] = {}
        if self.rule == "canonical":
            found = self._canonical(state)
        if not found:
            found = self._any(state)
        if self.constraint.accepts(state):
            found.update(dict.fromkeys(sorted(self.end_ids), END))
        return found

    def copying_token(self, state: State) -> int | None:
        """See `LegalTokenSets.copying_token`; None at the end of the answer."""
        if self.constraint.accepts(state):
            return None
        # If the sentence spells a tag: the last item is the one that has copied most.
        for position, context in reversed(self.constraint.machine.items(state)):
            for token_id, _ in self._copy_tokens.after(position, context):
                return token_id
        return None

    def _canonical(self, state: State) -> dict[int, State]:
        machine = self.constraint.machine
        # One item that stays one: each token leads to exactly the item that it was found for.
        certain = self._unambiguous and is_single(state) and state != self._fork
        found: dict[int, State] = {}
        for position, context in machine.items(state):
            copying = self._copy_tokens.after(position, context)
            found.update(machine.states_in(machine.copies[context], copying))
            found.update(self._tagging(position, context))
        if not certain:
            found = {token_id: self._advance_token(state, token_id) for token_id in found}
        return found

    def _advance_token(self, state: State, token_id: int) -> State:
        return self.constraint.advance(state, self.vocabulary.token_bytes[token_id])

    def _tagging(self, position: int, context: int) -> dict[int, State]:
        """The tokens that begin or continue a tag, each with the state of one item that it leads to."""
        constraint, tag_tokens = self.constraint, self.tag_tokens
        found: dict[int, State] = {}
        needed = tag_tokens.needed[context]
        if constraint.edges[position] & needed == needed:
            found = constraint.machine.states_at(position, tag_tokens.after[context])
        if context == _OUTSIDE and position < constraint.n_bytes and constraint.data[position] == _SPACE:
            spaced_at = position + 1
        elif context == _START:
            spaced_at = position  # the space is the tokenizer's own
        else:
            return found
        if constraint.edges[spaced_at] & OPEN:
            found.update(constraint.machine.states_at(spaced_at, tag_tokens.after_space))
        return found

    def _any(self, state: State) -> dict[int, State]:
        """Every token whose bytes fit, control tokens that stand for tags included."""
        found = tokens_that_fit(self.constraint, self.vocabulary.trie, state)
        for token_id in self.tag_tokens.controls:  # they are not in the trie
            state_after = self._advance_token(state, token_id)
            if state_after != DEAD:
                found[token_id] = state_after
        return found

    def encode(self, mentions: Iterable[Mention]) -> Iterator[tuple[int, dict[int, State]]]:
        """See `LegalTokenSets.encode`."""
        constraint = self.constraint
        answer = constraint.machine.markup.write(constraint.text, mentions).encode()
        if constraint.leading_space:
            answer = b" " + answer
        return encode_answer(self, answer, self.rule)


def encode_answer(
    legal_tokens: LegalTokenSets, answer: bytes, rule: TokenRule
) -> Iterator[tuple[int, dict[int, State]]]:
    """An answer token by token, each with the legal set that it is chosen from; the last is a stop token.

    Of the legal tokens that fit, the longest is taken; with the rule `any` the tokenizer's own for the whole
    answer, which is what a model writes if nothing tells it otherwise. Raises ValueError if the answer is
    not legal.
    """
    constraint, token_bytes = legal_tokens.constraint, legal_tokens.vocabulary.token_bytes
    own = _own_tokens(legal_tokens.vocabulary, answer) if rule == "any" else {}
    state, at = legal_tokens.start, 0
    while True:
        legal = legal_tokens.legal(state)
        if at == len(answer) and constraint.accepts(state):
            yield min(legal_tokens.end_ids), legal
            return
        fitting = [
            token_id
            for token_id, after in legal.items()
            if after != END and answer.startswith(token_bytes[token_id], at)
        ]
        if not fitting:
            raise ValueError(f"{answer.decode()!r} is not a legal answer (at byte {at})")
        token_id = own[at] if own.get(at) in fitting else max(fitting, key=lambda i: len(token_bytes[i]))
        yield token_id, legal
        at += len(token_bytes[token_id])
        state = legal[token_id]


def _own_tokens(vocabulary: Vocabulary, answer: bytes) -> dict[int, int]:
    """Where each token begins, as the tokenizer writes the answer -> its id."""
    found, at = {}, 0
    for token_id in vocabulary.encode(answer.decode()):
        found[at] = token_id
        at += len(vocabulary.token_bytes[token_id])
    return found
