"""A survey of a sentence: what the model scores at every state that a biased answer may pass through.

Greedy decoding with a bias takes other turns than without. To try many biases, the model is asked once: its
logits are recorded along given answers (the gold one, the plain copy), and along every turn off them that it
finds almost as likely, until that leads back to a state that is on record. `replay` then decodes with any
bias from the record alone.

The first answer is the plain one, and its record is kept apart: as long as a replay has not left it, it is
exact. After that a state is on record once, with what was written before it in one of the answers. A replay
that comes to it in another way takes these logits for its own, which is the one approximation.

A prior is evidence, not a bias: what it adds is in the logits on record. Nothing here knows tags or lists: an
answer is a walk through states, each with its legal tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..backends.protocol import Scores
from ..constraint.automaton import State
from ..constraint.bias import Bias, added_by
from ..constraint.legal import END, LegalTokenSets
from .answer import Extend, check_room, is_decision, only, place_of_best, with_added
from .scheduler import Routine

REACH = 6.0
"""How far below the best token, in logits, another one may be to be followed off a given answer: the largest
bias that a replay can try (any below 0: then less is marked, and that is on record)."""

REACH_ON_TURNS = 2.5
"""The same within a turn: of what type a name is, and where it ends."""

REACH_IN_LISTS = 3.0
"""Both, for lists: at each entry many names could come next, and to follow one takes several passes."""

_AHEAD = 5  # tokens that are copied ahead on a turn, in one pass

AddedTo = Callable[[State, Mapping[int, State]], Sequence[float] | None]
"""What a bias adds to the logits of the legal tokens of a state (`Bias.of`)."""


@dataclass(frozen=True)
class Survey:
    """logits: of the legal tokens of each state on record, in their order, with what the prior adds.

    plain: the same for the states of the plain answer, with nothing but that answer before them. taken: the
        tokens that it takes there.
    legal: the legal tokens of states that were asked about. effort: n_passes and n_tokens that it took.
    """

    legal_tokens: LegalTokenSets
    prior: Bias | None = None
    logits: dict[State, tuple[float, ...]] = field(default_factory=dict)
    plain: dict[State, tuple[float, ...]] = field(default_factory=dict)
    taken: dict[State, int] = field(default_factory=dict)
    legal: dict[State, dict[int, State]] = field(default_factory=dict)
    effort: dict[str, int] = field(default_factory=lambda: {"n_passes": 0, "n_tokens": 0})

    def legal_at(self, state: State) -> dict[int, State]:
        found = self.legal.get(state)
        if found is None:
            found = self.legal[state] = self.legal_tokens.legal(state)
        return found

    def replay(self, bias: AddedTo | None = None) -> tuple[int, ...]:
        """The tokens of the answer that greedy decoding would write with this bias, without the stop token.

        Where nothing is on record, it copies on; a list ends.
        """
        state = self.legal_tokens.start
        token_ids: list[int] = []
        on_record = self.plain
        while True:
            legal = self.legal_at(state)
            token_id = only(legal)
            if is_decision(legal):
                token_id = self._best(state, legal, on_record.get(state) or self.logits.get(state), bias)
                if token_id != self.taken.get(state):
                    on_record = self.logits
            state = legal[token_id]
            if state == END:
                return tuple(token_ids)
            token_ids.append(token_id)

    def _best(
        self,
        state: State,
        legal: Mapping[int, State],
        logits: Sequence[float] | None,
        bias: AddedTo | None,
    ) -> int:
        if logits is None:
            copying = self.legal_tokens.copying_token(state)
            ends = [token_id for token_id, after in legal.items() if after == END]
            return copying if copying is not None and copying in legal else [*ends, only(legal)][0]
        extra = None if bias is None else bias(state, legal)
        token_ids = tuple(legal)
        return token_ids[place_of_best(token_ids, with_added(logits, extra))]


Path = Sequence[tuple[int, State]]
"""An answer token by token, each with the state before it. The last token is a stop token."""


def path_of(survey: Survey, token_ids: Iterable[int]) -> Path:
    """The path of an answer, given with its stop token."""
    state = survey.legal_tokens.start
    path: list[tuple[int, State]] = []
    for token_id in token_ids:
        path.append((token_id, state))
        state = survey.legal_at(state)[token_id]
    return path


def survey_sentence(
    prompt_ids: Sequence[int],
    survey: Survey,
    paths: Sequence[Path],
    room: int,
    *,
    reach: float = REACH,
    reach_on_turns: float = REACH_ON_TURNS,
) -> Routine[Survey]:
    """Record the answers, the plain one first, and the turns off them.

    Where they pass the same state, the last answer counts.

    room: the most tokens that prompt and answer may have together; ContextOverflowError beyond it.
    reach, reach_on_turns: see REACH and REACH_ON_TURNS.
    """
    surveyor = _Surveyor(tuple(prompt_ids), survey, room, reach, reach_on_turns)
    for n, path in enumerate(paths):
        later = {state for other in paths[n + 1 :] for _, state in other}
        yield from surveyor.follow(path, later, plain=n == 0)
    return survey


class _Surveyor:
    """Asks the model, keeping in its cache what two questions have in common."""

    def __init__(
        self, prompt_ids: tuple[int, ...], survey: Survey, room: int, reach: float, reach_on_turns: float
    ) -> None:
        self._prompt = prompt_ids
        self._survey = survey
        self._room = room
        self._reach, self._reach_on_turns = reach, reach_on_turns
        self._cached: list[int] = []
        self._turns: list[tuple[list[int], State]] = []

    def follow(self, path: Path, later: set[State], *, plain: bool) -> Routine[None]:
        """Record a path in one pass, then the turns off it, the last first.

        later: states whose turns are left to other paths.
        """
        answer = [token_id for token_id, _ in path[:-1]]
        states = [state for _, state in path]
        scored = yield from self._score([], answer, states)
        for at, (token_id, state) in enumerate(path):
            if state in scored:
                self._survey.logits[state] = scored[state]
                if plain:
                    self._survey.plain[state], self._survey.taken[state] = scored[state], token_id
                if state not in later:
                    self._turn_off(answer[:at], state, token_id, self._reach)
        yield from self._follow_turns()

    def _follow_turns(self) -> Routine[None]:
        while self._turns:
            written, state = self._turns.pop()
            if self._is_known(state):
                continue
            ahead, states = self._ahead(state)
            scored = yield from self._score(written, ahead, states)
            for at, passed in enumerate(states):
                if passed in scored and passed not in self._survey.logits:
                    self._survey.logits[passed] = scored[passed]
                    copied = ahead[at] if at < len(ahead) else None
                    self._turn_off(written + ahead[:at], passed, copied, self._reach_on_turns)
                    if copied is not None and not self._in_reach(passed, copied, self._reach_on_turns):
                        break
            else:
                if len(ahead) == len(states):
                    self._turns.append((written + ahead, self._after(states[-1], ahead[-1])))

    def _ahead(self, state: State) -> tuple[list[int], list[State]]:
        """Tokens that are forced or copy on, and the states before each; perhaps one more state, a choice."""
        token_ids: list[int] = []
        states: list[State] = []
        while state != END and len(token_ids) < _AHEAD and not (token_ids and self._is_known(state)):
            states.append(state)
            legal = self._survey.legal_at(state)
            token_id = only(legal)
            if is_decision(legal):
                copying = self._survey.legal_tokens.copying_token(state)
                if copying is None or copying not in legal:
                    break
                token_id = copying
            token_ids.append(token_id)
            state = legal[token_id]
        return token_ids, states

    def _score(
        self, written: list[int], ahead: Sequence[int], states: Sequence[State]
    ) -> Routine[dict[State, tuple[float, ...]]]:
        """The logits at the choices among the states, the first of which comes after what is written."""
        whole = [*self._prompt, *written, *ahead]
        legal = [self._survey.legal_at(state) for state in states]
        choices = [n for n, found in enumerate(legal) if is_decision(found)]
        if not choices:
            return {}
        first = len(self._prompt) + len(written) - 1  # the position whose scores are those of the first state
        last = first + choices[-1]
        check_room(last + 1, self._room)
        keep = min(_n_common(self._cached, whole), first + choices[0])
        fed = whole[keep : last + 1]
        watch: list[Sequence[int] | None] = [None] * len(fed)
        for n in choices:
            watch[first + n - keep] = tuple(legal[n])
        scores: Sequence[Scores | None] = yield Extend(keep, fed, watch, False)
        self._cached = whole[: last + 1]
        self._survey.effort["n_passes"] += 1
        self._survey.effort["n_tokens"] += len(fed)
        found: dict[State, tuple[float, ...]] = {}
        for n in choices:
            at = scores[first + n - keep]
            assert at is not None
            prior = added_by(self._survey.prior, states[n], legal[n])
            found[states[n]] = tuple(with_added(at.logits.tolist(), prior))
        return found

    def _turn_off(self, written: list[int], state: State, taken: int | None, reach: float) -> None:
        """Put the other tokens in reach on the list of turns."""
        for token_id, after in self._survey.legal_at(state).items():
            if token_id != taken and self._in_reach(state, token_id, reach):
                self._turns.append(([*written, token_id], after))

    def _in_reach(self, state: State, token_id: int, reach: float) -> bool:
        logits = self._survey.logits[state]
        at = list(self._survey.legal_at(state)).index(token_id)
        return logits[at] >= max(logits) - reach

    def _after(self, state: State, token_id: int) -> State:
        return self._survey.legal_at(state)[token_id]

    def _is_known(self, state: State) -> bool:
        """Whether all choices from here to the next state on record are forced."""
        while state != END and state not in self._survey.logits:
            legal = self._survey.legal_at(state)
            if is_decision(legal):
                return False
            state = legal[only(legal)]
        return True


def _n_common(a: Sequence[int], b: Sequence[int]) -> int:
    n = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        n += 1
    return n
