"""A teacher's probabilities as targets of a student with another tokenizer.

The teacher's marks say by place how likely a tag is to open or to close (see `marks`). At a decision of the
student, each legal token does one thing to the text: it opens a tag of some type at some place, closes the
one that is open, copies up to a place where a tag might come, or copies on. So each place gives its
probability to the tokens that lead there, and copying gets what is left. Where several tokens do what the
teacher gave one probability for, they share it as one outcome.

Where the teacher did not look at a place, the mentions that it wrote are the target, as in gold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ...constraint.automaton import END, Constraint, State, is_single
from ...constraint.edges import OPEN
from ...text.view import view_of
from ..batches import Decision, Example
from ..targets import TargetWriter
from .marks import Marks

Deed = tuple[str, int]
"""What a token does, and at which character: it opens a type, or one of the following."""

CLOSES, UP_TO, ON = "closes", "copies up to", "copies on"


def seen_alike(marks: Iterable[Marks]) -> Iterator[Marks]:
    """Yield the marks of the sentences that a student sees as the teacher saw them."""
    return (m for m in marks if view_of(m.sentence.text).text == m.sentence.text)


def soft_example(marks: Marks, writer: TargetWriter) -> Example:
    """Write the example of a sentence that is seen alike. writer: the student's, for the marks' types."""
    return writer.write(marks.sentence, softened=Softened(marks))


class Softened:
    """Gives the decisions of one sentence, in order, the outcomes that its marks expect."""

    def __init__(self, marks: Marks) -> None:
        self.marks = marks
        self._heading_for: int | None = None  # what was copied last leads to a tag here
        self._declined: set[int] = set()  # no tag was placed here, though a tag with a space might have been

    def __call__(
        self, decision: Decision, constraint: Constraint, state: State, after: Sequence[State]
    ) -> Decision:
        """The decision with the teacher's outcomes; as it is where the marks do not say enough.

        state: before the decision. after: the states that its legal tokens lead to.
        """
        if not is_single(state):
            return decision  # the sentence itself spells a tag
        inside = constraint.machine.context(state) in constraint.machine.mention_contexts
        known = dict(self.marks.closes if inside else self.marks.opens)
        deeds = _deeds(after, constraint, inside=inside)
        if self._heading_for in known:
            known[self._heading_for] = 1.0
        self._heading_for = deeds[0][1] if deeds[0][0] == UP_TO else None
        known.update(dict.fromkeys(self._declined & known.keys(), 0.0))
        now = {place for deed, place in deeds if deed not in (ON, UP_TO)}
        if not now <= known.keys() or (deeds[0][0] != ON and deeds[0][1] not in known):
            return decision
        left, chances = 1.0, {}
        for place in sorted({place for deed, place in deeds if deed != ON}):
            chances[place] = left * known.get(place, 0.0)
            left -= chances[place]
        if deeds[0][0] == ON and not inside:
            self._declined.update(chances)
        expected: dict[Deed, float] = {}
        outcomes = [self._outcome(deed, place, place in now) for deed, place in deeds]
        for (deed, place), share in outcomes:
            expected[deed, place] = left if deed == ON else share * chances[place]
        numbers = {outcome: n for n, outcome in enumerate(expected)}
        return Decision(
            decision.position,
            decision.legal,
            tuple(numbers[outcome] for outcome, _ in outcomes),
            tuple(expected.values()),
        )

    def _outcome(self, deed: str, place: int, now: bool) -> tuple[Deed, float]:
        """The outcome that a deed belongs to, and its share of the probability of its place.

        now: a tag can come at this place without copying anything first.
        """
        if deed == ON:
            return (ON, 0), 1.0
        if deed == UP_TO:
            return (UP_TO, place), 0.0 if now else 1.0
        types = self.marks.types.get(place)
        if deed == CLOSES or types is None:
            return (CLOSES, place), 1.0  # or some tag opens
        return (deed, place), types.get(deed, 0.0) / sum(types.values())


def _deeds(after: Sequence[State], constraint: Constraint, *, inside: bool) -> list[Deed]:
    """What the tokens do that lead to these states."""
    machine = constraint.machine
    found: list[Deed] = []
    copied_to: dict[int, int] = {}  # token -> byte
    for number, state in enumerate(after):
        if state == END:
            found.append((ON, 0))
            continue
        at, context = machine.position(state), machine.context(state)
        if context in machine.type_of_fresh:
            found.append((machine.type_of_fresh[context], constraint.character_at(at)))
        elif inside and context == machine.OUTSIDE:
            found.append((CLOSES, constraint.character_at(at)))
        else:
            found.append((ON, 0))
            copied_to[number] = at
    for number, at in copied_to.items():
        if at < max(copied_to.values()):  # shorter than need be: up to a tag, or to the space before it
            space = not inside and not constraint.edges[at] & OPEN
            found[number] = (UP_TO, constraint.character_at(at + space))
    return found
