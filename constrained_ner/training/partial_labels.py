"""What the marks of another corpus say about our types: certainly a name, certainly none, or unknown.

A corpus of genes and chemicals has none of our types, and yet knows much: a gene is no drug. Of a chemical it
does not say whether we would mark it, nor with which type. So each of its types has a meaning:

    none        certainly no name of ours: no tag may open in it
    unknown     whatever the model does is right: nothing is learnt there
    drug+brand  certainly a name of one of these types

and so has the rest of its text, `*`. A decision whose answer is only partly known has several right tokens:
the loss takes the probability that they have together (see `losses.outcome_cross_entropy`). If all are right,
it is no decision at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..constraint.automaton import Constraint, State, TagMachine
from ..constraint.legal import END
from ..data import Mention, Sentence
from ..errors import SchemaError, UserError
from ..schema import Schema

Meaning = tuple[str, ...] | None
"""The possible types, the first of which is written; () for certainly no name, None for unknown."""

REST = "*"


@dataclass(frozen=True)
class PartialLabels:
    """What each type of another corpus means to a schema. rest: what text means that is not marked."""

    by_type: Mapping[str, Meaning]
    rest: Meaning

    @classmethod
    def parse(cls, settings: Mapping[str, str], schema: Schema) -> PartialLabels:
        """From settings such as {"GENE": "none", "CHEMICAL": "unknown", "*": "none"}; unset, `*` is unknown.

        Raises UserError for a meaning that is none.
        """
        meanings = {theirs: _meaning(theirs, text, schema) for theirs, text in settings.items()}
        rest = meanings.pop(REST, None)
        if rest:
            raise UserError(f"{REST}={settings[REST]}: text that is not marked is none or unknown")
        return cls(meanings, rest)

    def require(self, sentences: Iterable[Sentence], place: str) -> None:
        """Raise SchemaError if the sentences have a type without a meaning."""
        found = {m.type for s in sentences for m in s.mentions}
        if missing := sorted(found - self.by_type.keys()):
            raise SchemaError(
                f"{place}: no meaning for its type {missing[0]}; say one of {missing[0]}=none, "
                f"{missing[0]}=unknown, {missing[0]}=TYPE or {missing[0]}=TYPE+TYPE"
            )

    def written(self, sentence: Sentence) -> Sentence:
        """The sentence with the names that it certainly has, each with the first type that is possible."""
        names = [
            Mention(mention.spans, types[0], mention.text)
            for mention in sentence.mentions
            if (types := self.by_type[mention.type])
        ]
        return sentence.with_mentions(names)

    def right_answers(
        self, sentence: Sentence, constraint: Constraint, written: Iterable[Mention]
    ) -> RightAnswers:
        """What else would be right than the answer that marks the mentions `written`.

        sentence: as the model is shown it. Names that tags cannot express are not written, so unknown.
        """
        starts = {mention.start for mention in written}
        regions = []
        for mention in sentence.mentions:
            meaning = self.by_type[mention.type]
            known = meaning if not meaning or mention.start in starts else None
            for span in mention.spans:
                regions.append(_Region(constraint.byte_at(span.start), constraint.byte_at(span.end), known))
        return RightAnswers(regions, self.rest, constraint.machine)


@dataclass(frozen=True, slots=True)
class _Region:
    """A marked part of a sentence, in bytes."""

    start: int
    end: int
    meaning: Meaning


class RightAnswers:
    """Which other tokens are as right as the one that is written, in one sentence."""

    def __init__(self, regions: Sequence[_Region], rest: Meaning, machine: TagMachine) -> None:
        self._regions = regions
        self._rest = rest
        self._machine = machine
        self._opening = frozenset().union(*machine.opening.values())

    def others(self, written: int, legal: Mapping[int, State]) -> list[int]:
        """The other tokens that are right at a decision."""
        if legal[written] == END:
            return []
        machine = self._machine
        position, context = machine.position(legal[written]), machine.context(legal[written])
        # The next name that is certain: it begins here, or later. To pass its beginning is wrong.
        names = [r for r in self._regions if r.meaning and r.start >= position]
        latest = min((r.start for r in names), default=None)
        types = [r.meaning for r in names if r.start == position and context in self._opening]
        return [
            token_id
            for token_id, after in legal.items()
            if token_id != written
            and after != END
            and self._right(after, types[0] if types else None, latest)
        ]

    def _right(self, after: State, types: Meaning, latest: int | None) -> bool:
        """types: those that the tag which is being written may have, None if none is being written."""
        machine = self._machine
        for position, context in machine.items(after):
            if latest is not None and position > latest:
                continue
            if types and position == latest:
                if any(context in machine.opening[t] for t in types):
                    return True
            elif (context in self._opening or context == machine.OUTSIDE) and self._is_unknown(position):
                return True
        return False

    def _is_unknown(self, position: int) -> bool:
        """Whether nothing is known of a tag that opens here."""
        inside = [region.meaning for region in self._regions if region.start <= position < region.end]
        return all(meaning is None for meaning in inside) if inside else self._rest is None


def _meaning(theirs: str, text: str, schema: Schema) -> Meaning:
    if text == "unknown":
        return None
    if text == "none":
        return ()
    types = tuple(text.split("+"))
    for name in types:
        if name not in schema.type_names:
            raise UserError(
                f"{theirs}={text}: {name!r} is neither none, unknown nor one of "
                f"{', '.join(schema.type_names)}"
            )
    return types
