"""Sentence <-> tagged text. The only module that knows what a tag looks like.

    Effect of <drug>aspirin</drug> on <group>beta-blockers</group>.

Writing is exact: without the tags, the sentence is back, byte for byte. An answer that was generated under
the constraint is read by `Constraint.read`, which knows the sentence and so is not fooled by a literal
`<drug>` in it. `parse` is for free answers, where nothing is certain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..data import Mention, Sentence, Span
from ..schema import Schema
from .edges import CLOSE, OPEN, Boundary, edges


@dataclass(frozen=True, slots=True)
class Refused:
    """A mention that inline tags cannot express, and why."""

    mention: Mention
    reason: str


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """A free answer with its tags removed.

    plain: the answer without the tags that were understood.
    mentions: type and half-open offsets in `plain`, in order, disjoint.
    problems: what was not understood: `unknown tag <medicine>`, `<drug> is never closed`.
    unknown_tags: tags that are not in the schema; they are part of `plain`.
    """

    plain: str
    mentions: tuple[tuple[str, Span], ...]
    problems: tuple[str, ...]
    unknown_tags: tuple[str, ...]


class Markup:
    """The tags of a schema."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.types = schema.type_names
        self._tags = {t.name: t.tag for t in schema.types}
        self._types_by_tag = {t.tag: t.name for t in schema.types}

    def open_tag(self, entity_type: str) -> str:
        return f"<{self._tags[entity_type]}>"

    def close_tag(self, entity_type: str) -> str:
        return f"</{self._tags[entity_type]}>"

    def write(self, text: str, mentions: Iterable[Mention]) -> str:
        """The text with tags around the mentions, which must be sorted, contiguous and disjoint.

        Example: write("on aspirin", [drug 3-10]) -> "on <drug>aspirin</drug>"
        """
        parts: list[str] = []
        done = 0
        for mention in mentions:
            if mention.discontinuous or mention.start < done:
                raise ValueError(f"mention {mention.text!r} is discontinuous, overlapping or out of order")
            name = text[mention.start : mention.end]
            parts += [
                text[done : mention.start],
                self.open_tag(mention.type),
                name,
                self.close_tag(mention.type),
            ]
            done = mention.end
        return "".join(parts) + text[done:]

    def expressible(
        self, sentence: Sentence, boundary: Boundary = "word"
    ) -> tuple[tuple[Mention, ...], tuple[Refused, ...]]:
        """The mentions that inline tags can express, in order, and the others, with reasons."""
        places = edges(sentence.text, boundary)
        kept: list[Mention] = []
        refused: list[Refused] = []
        for mention in sorted(sentence.mentions, key=lambda m: (m.start, -m.end)):
            reason = self._reason_against(mention, places, kept[-1].end if kept else 0)
            if reason is None:
                kept.append(mention)
            else:
                refused.append(Refused(mention, reason))
        return tuple(kept), tuple(refused)

    def _reason_against(self, mention: Mention, places: bytes, done: int) -> str | None:
        if mention.type not in self.types:
            return "type is not in the schema"
        if mention.discontinuous:
            return "discontinuous"
        if mention.end >= len(places):
            return "runs past the text"
        if mention.start < done:
            return "overlaps another mention"
        if not (places[mention.start] & OPEN and places[mention.end] & CLOSE):
            return "cuts through a word, or starts or ends on white space"
        return None

    def parse(self, answer: str) -> ParsedAnswer:
        """Read the tags of a free answer, as leniently as possible without inventing anything.

        Example: parse("on <drug>aspirin</drug>") -> plain "on aspirin", mentions ((drug, 3-10),)
        """
        plain: list[str] = []
        length = 0
        mentions: list[tuple[str, Span]] = []
        problems: list[str] = []
        unknown_tags: list[str] = []
        opened: tuple[str, int] | None = None
        for piece in re.split(r"(</?[A-Za-z][A-Za-z0-9_-]*>)", answer):
            name = self._types_by_tag.get(piece.strip("</>"))
            if not re.fullmatch(r"</?[A-Za-z][A-Za-z0-9_-]*>", piece):
                plain.append(piece)
                length += len(piece)
            elif name is None:
                # It may be text: keep it, and let the alignment decide.
                problems.append(f"unknown tag {piece}")
                unknown_tags.append(piece)
                plain.append(piece)
                length += len(piece)
            elif not piece.startswith("</"):
                if opened:
                    problems.append(f"{self.open_tag(opened[0])} is never closed")
                opened = (name, length)
            elif opened is None or opened[0] != name:
                problems.append(f"{piece} closes nothing")
            else:
                if opened[1] < length:
                    mentions.append((name, Span(opened[1], length)))
                else:
                    problems.append(f"{self.open_tag(name)} holds nothing")
                opened = None
        if opened:
            problems.append(f"{self.open_tag(opened[0])} is never closed")
        return ParsedAnswer("".join(plain), tuple(mentions), tuple(problems), tuple(unknown_tags))
