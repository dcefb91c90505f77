"""A sentence as the decoder saw it: every decision, what was legal there, and what the model wanted.

Beside it stands what the same model writes without the constraint, and what that would cost: characters that
are no longer those of the sentence, and names that have no place in it any more.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rapidfuzz.distance import Levenshtein

from ..backends.protocol import Scores
from ..constraint.automaton import State
from ..constraint.bias import Bias
from ..constraint.legal import END, LegalTokens
from ..data import Mention
from ..decoding.answer import Answer, Decoder, Extend
from ..decoding.copy_draft import copy_draft
from ..decoding.scheduler import Routine, Scheduler
from ..decoding.trace import Decision, TracedPass, decisions, states_of, traced
from ..decoding.unconstrained import unconstrained
from ..vocabulary import Vocabulary
from .free_answer import read_answer
from .result import Effort

_SHOWN = 5


@dataclass(frozen=True)
class Choice:
    """A token that might have been written. does: copy, open, close or stop; "" for what is not legal.

    probability: over the whole vocabulary. share: among the legal tokens; None for what is not legal.
    """

    text: str
    does: str
    probability: float
    share: float | None = None


@dataclass(frozen=True)
class Seen:
    """A decision, or a token that was the only legal one where the model wanted another.

    at: where in the answer, in characters. number: of the pass, from 1; None if no pass had to look.
    written: what the answer has here. others: legal, the likeliest first. n_legal: how many were legal.
    wanted: what the model would have written, if that was not legal. legal_mass: share of its probability.
    """

    at: int
    number: int | None
    written: Choice
    others: tuple[Choice, ...]
    n_legal: int
    legal_mass: float
    wanted: Choice | None = None


@dataclass(frozen=True)
class Pass:
    """A forward pass. n_tokens: evaluated in it. n_drafted: decisions drafted. n_right: of these, kept."""

    n_tokens: int
    n_drafted: int
    n_right: int


@dataclass(frozen=True)
class Free:
    """What the model writes without the constraint.

    edits: the answer without its tags against the sentence, as pairs of same, lost or added, and characters.
    mentions: those that could be placed. problems: names and tags that could not, with the reasons.
    """

    written: str
    finished: bool
    verbatim: bool
    edits: tuple[tuple[str, str], ...]
    mentions: tuple[Mention, ...]
    problems: tuple[str, ...]
    n_passes: int


@dataclass(frozen=True)
class XRay:
    """A sentence looked through. text: what the model was shown. answer: with its tags."""

    text: str
    answer: str
    mentions: tuple[Mention, ...]
    decisions: tuple[Seen, ...]
    passes: tuple[Pass, ...]
    free: Free


@dataclass(frozen=True)
class Setting:
    """What decodes one sentence: the parts that a transport puts together for it."""

    prompt_ids: Sequence[int]
    prefix_ids: tuple[int, ...]
    legal_tokens: LegalTokens
    room: int
    bias: Bias | None
    prior: Bias | None
    horizon: int | None
    scheduler: Scheduler
    vocabulary: Vocabulary
    hidden_ids: frozenset[int] = field(default_factory=frozenset)

    def run(self, routine: Routine[Answer]) -> Answer:
        return self.scheduler.submit(routine, self.prefix_ids).result()

    def xray(self) -> XRay:
        """Decode the sentence under the constraint and freely. Raises SentenceError."""
        passes: list[TracedPass] = []
        decoder = copy_draft(
            self.prompt_ids,
            self.legal_tokens,
            self.room,
            (),
            self.bias,
            prior=self.prior,
            horizon=self.horizon,
        )
        answer = self.run(traced(decoder, passes))
        found = list(decisions(answer, passes, len(self.prompt_ids), self.legal_tokens))
        forced = self._forced(answer, {decision.at for decision in found})
        wanted = self._wanted(answer, [*found, *forced])
        seen = sorted([*found, *forced], key=lambda decision: decision.at)
        written = self.vocabulary.decode(answer.token_ids)
        constraint = self.legal_tokens.constraint
        tagged = constraint.read(written) or ()
        return XRay(
            self.legal_tokens.constraint.text,
            written.decode(errors="replace"),
            tuple(span.mention(self.legal_tokens.constraint.text) for span in tagged),
            tuple(self._seen(answer, decision, wanted.get(decision.at)) for decision in seen),
            tuple(_passes(passes, found)),
            self._free(),
        )

    # ---- one decision

    def _forced(self, answer: Answer, decided: Collection[int]) -> list[Decision]:
        """Tokens that the grammar left no choice about, where the model wanted another: by one more pass."""
        states = states_of(answer, self.legal_tokens)
        places = [at for at in range(len(answer.token_ids)) if at not in decided]
        written = {at: (answer.token_ids[at],) for at in places}
        return [
            Decision(
                at,
                None,
                states[at],
                written[at],
                tuple(seen.logits.tolist()),
                seen.logsumexp,
                seen.best,
                *written[at],
            )
            for at, seen in self._scores(answer, written).items()
            if seen.best is not None and seen.best != answer.token_ids[at]
        ]

    def _wanted(self, answer: Answer, found: Sequence[Decision]) -> dict[int, float]:
        """The log probabilities of what was wanted and not legal: one more pass over the finished answer."""
        asked = {d.at: (d.wanted,) for d in found if d.overruled and d.wanted is not None}
        return {
            at: float(seen.logits[0]) - seen.logsumexp
            for at, seen in self._scores(answer, asked).items()
            if seen.logsumexp is not None
        }

    def _scores(self, answer: Answer, asked: Mapping[int, tuple[int, ...]]) -> dict[int, Scores]:
        """The scores of tokens at places of the finished answer. asked: place -> ids."""
        found: dict[int, Scores] = {}
        if not asked:
            return found
        first = len(self.prompt_ids) - 1

        def look() -> Decoder:
            fed = (*self.prompt_ids, *answer.token_ids)[: first + max(asked) + 1]
            scores = yield Extend(0, fed, [asked.get(at - first) for at in range(len(fed))])
            found.update({at: seen for at in asked if (seen := scores[first + at]) is not None})
            return answer

        self.run(look())
        return found

    def _seen(self, answer: Answer, decision: Decision, wanted: float | None) -> Seen:
        legal = self.legal_tokens.legal(decision.state)
        highest = max(decision.logits)
        total = sum(math.exp(logit - highest) for logit in decision.logits)
        whole = decision.logsumexp if decision.logsumexp is not None else highest + math.log(total)

        def choice(token_id: int, logit: float) -> Choice:
            does = self._does(decision.state, legal[token_id])
            share = math.exp(logit - highest) / total
            return Choice(self._text(token_id), does, min(1.0, math.exp(logit - whole)), share)

        choices = {i: choice(i, logit) for i, logit in zip(decision.legal, decision.logits, strict=True)}
        others = sorted(
            (c for i, c in choices.items() if i != decision.token_id), key=lambda c: -c.probability
        )
        before = self.vocabulary.decode(answer.token_ids[: decision.at])
        return Seen(
            len(before.decode(errors="replace")),
            None if decision.number is None else decision.number + 1,
            choices[decision.token_id],
            tuple(others[:_SHOWN]),
            len(choices),
            decision.legal_mass if decision.legal_mass is not None else 1.0,
            None
            if wanted is None or decision.wanted is None
            else Choice(self._text(decision.wanted), "", min(1.0, math.exp(wanted))),
        )

    def _does(self, before: State, after: State) -> str:
        machine = self.legal_tokens.constraint.machine
        if after == END:
            return "stop"
        was, now = machine.context(before), machine.context(after)
        if not machine.begins_tag(was, now):
            return "copy"
        return "close" if was in machine.mention_contexts else "open"

    def _text(self, token_id: int) -> str:
        if token_id in self.vocabulary.stop_ids:
            return "(end)"
        return self.vocabulary.token_bytes[token_id].decode(errors="replace")

    # ---- without the constraint

    def _free(self) -> Free:
        answer = self.run(unconstrained(self.prompt_ids, self.legal_tokens, self.room, horizon=self.horizon))
        shown = self.vocabulary.decode(i for i in answer.token_ids if i not in self.hidden_ids)
        read = read_answer(self.legal_tokens.constraint, shown, Effort.of(answer), finished=answer.finished)
        written = shown.decode(errors="replace")
        plain = self.legal_tokens.constraint.machine.markup.parse(written).plain
        edits = tuple(_edits(self.legal_tokens.constraint.text, plain.removeprefix(" ")))
        verbatim = all(kind == "same" for kind, _ in edits)
        return Free(
            written, answer.finished, verbatim, edits, read.sentence.mentions, read.problems, answer.n_passes
        )


def _edits(text: str, plain: str) -> Iterator[tuple[str, str]]:
    """What a text lost and gained. Example: "a b", "a c" -> ("same", "a "), ("lost", "b"), ("added", "c")"""
    for step in Levenshtein.opcodes(text, plain):
        if step.tag == "equal":
            yield "same", text[step.src_start : step.src_end]
            continue
        if step.src_end > step.src_start:
            yield "lost", text[step.src_start : step.src_end]
        if step.dest_end > step.dest_start:
            yield "added", plain[step.dest_start : step.dest_end]


def _passes(passes: Sequence[TracedPass], found: Sequence[Decision]) -> Iterator[Pass]:
    for number, traced_pass in enumerate(passes):
        n_right = sum(decision.number == number for decision in found)
        yield Pass(
            len(traced_pass.request.token_ids), traced_pass.n_scored, min(n_right, traced_pass.n_scored)
        )
