"""How one vocabulary spells the tags of one schema.

A space before an opening tag is made part of the tag if the vocabulary has such tokens (` <`, or a tag token
with a space of its own), since running text is tokenised that way. A control token that is spelt exactly like
a tag (in a model trained with tag tokens) stands for that tag.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ..vocabulary import Vocabulary
from .automaton import TagMachine
from .edges import CLOSE, OPEN

_START, _OUTSIDE = TagMachine.START, TagMachine.OUTSIDE


class TagTokens:
    """The tokens that write tags. Shared by all sentences.

    needed: context -> what an edge must allow for a tag to begin there: OPEN, CLOSE or 0.
    after: context -> [(token id, context after it)] for the tokens that consist of bytes of tags.
    after_space: the same from OUTSIDE, for the tokens that begin with one space of the sentence.
    controls: token id -> tag, for the control tokens that stand for a tag (with or without a space).
    first_token: text -> the first token of its tokenisation, cached.
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
        encode = vocabulary.encode  # a cache over a method of ours would keep us alive after the last use
        self.first_token = lru_cache(maxsize=65536)(lambda text: encode(text)[0])

    def _spelling(self, tag: str) -> list[int]:
        control = self.vocabulary.control_by_bytes.get(tag.encode())
        if control is None:
            return self.vocabulary.encode(tag)
        self.controls[control] = tag.encode()
        return [control]

    def _add(self, context: int, token_ids: Sequence[int]) -> None:
        for token_id in token_ids:
            after = self._context_after(context, self.vocabulary.token_bytes[token_id])
            if (token_id, after) not in self.after[context]:
                self.after[context].append((token_id, after))
            context = after

    def _add_spaced(self, spaced: Sequence[int], bare: Sequence[int]) -> None:
        first, *rest = spaced
        in_tag = self.vocabulary.token_bytes[first][1:]
        if not in_tag or (bare[0] in self.controls and first not in self.controls):
            return  # the space is a token of its own, or the tag tokens have no space
        context = self._context_after(_OUTSIDE, in_tag)
        if (first, context) not in self.after_space:
            self.after_space.append((first, context))
        self._add(context, rest)

    def _add_from_within(self) -> None:
        """Spell the rest of a tag, for the contexts that only a token of the sentence leads into.

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

    def _context_after(self, context: int, tag_bytes: bytes) -> int:
        for byte in tag_bytes:
            context = self.machine.tags[context][byte][0]
        return context
