"""A bias per type: a number added to the logit of opening it, which trades precision for recall.

An opening tag that is one token gets the number as it is. If the tag is spelt in several tokens (`<`, `drug`,
`>`), the tags of all types begin alike, and the number must not come before the model has said which type it
means. So each token gets what becomes certain with it. The tag so far leaves some types possible, and what
their numbers have in common is due: the one nearest to zero if all have the same sign, else nothing. However
the tag is spelt, its tokens together get the type's number.

    drug_n +0.5:                    `<` 0,    `drug` 0, `_n>` +0.5
    +0.5 for every type:            `<` +0.5, then 0
    drug_n +0.5 and all others 0.2: `<` +0.2, `drug` 0, `_n>` +0.3

The type CLOSING stands for all closing tags: its number is added where one begins, so that names become
shorter (above 0) or longer.

If the sentence itself spells what may be a tag, nothing is added until it is certain whether it is one.
A bias changes which token is chosen, not how sure the model is of it: confidences are computed without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from ..errors import SchemaError, UserError
from ..vocabulary import Vocabulary
from .automaton import State, TagMachine, is_single

CLOSING = "/"
"""What the bias for closing a tag is called among those of the types, none of which can have this name."""


class Bias(Protocol):
    """What a decoder asks for numbers to add to the logits of tokens."""

    def of(self, state: State, legal: Mapping[int, State]) -> list[float] | None:
        """The number to add to each legal token's logit, in their order; None if all are 0."""


def added_by(bias: Bias | None, state: State, legal: Mapping[int, State]) -> list[float] | None:
    """What a bias adds, if there is one."""
    return None if bias is None else bias.of(state, legal)


class TypeBias:
    """Adds the types' numbers to the logits of tokens. Shared by all sentences.

    Raises SchemaError for a type that is not in the schema.
    """

    def __init__(self, by_type: Mapping[str, float], machine: TagMachine, vocabulary: Vocabulary) -> None:
        types = machine.markup.types
        for name in by_type:
            if name not in types and name != CLOSING:
                raise SchemaError(f"bias for {name!r}: the schema's types are {', '.join(types)}")
        self._machine = machine
        self._token_bytes = vocabulary.token_bytes
        self._due = _due(by_type, machine)
        self._known: dict[tuple[int, int, int], float] = {}

    def of(self, state: State, legal: Mapping[int, State]) -> list[float] | None:
        """The number to add to each legal token's logit, in their order; None if all are 0."""
        if not self._due or not is_single(state):
            return None
        before = self._machine.context(state)
        added = [
            self._of_token(before, token_id, self._machine.context(after)) if is_single(after) else 0.0
            for token_id, after in legal.items()
        ]
        return added if any(added) else None

    def _of_token(self, before: int, token_id: int, after: int) -> float:
        key = (before, token_id, after)
        if key not in self._known:
            self._known[key] = self._walk(*key)
        return self._known[key]

    def _walk(self, context: int, token_id: int, after: int) -> float:
        """What becomes due on the way through the token. A byte that can be read as part of a tag is."""
        due, total = self._due, 0.0
        for byte in self._token_bytes[token_id]:
            tag = self._machine.tags[context].get(byte)
            following = self._machine.copies[context] if tag is None else tag[0]
            if following < 0:
                return 0.0
            if following in due:
                total += due[following] - due.get(context, 0.0)
            context = following
        return total if context == after else 0.0  # not a tag after all, but text


def parse_bias(settings: Iterable[str]) -> dict[str, float]:
    """Parse settings of the form TYPE=NUMBER. Raises UserError for any other, and for a type set twice.

    Example: parse_bias(["drug_n=+0.5"]) -> {"drug_n": 0.5}
    """
    by_type: dict[str, float] = {}
    for setting in settings:
        name, _, number = setting.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not name or not math.isfinite(value):
            raise UserError(f"bias {setting!r:.60} is not of the form TYPE=NUMBER, for instance drug_n=+0.5")
        if name in by_type:
            raise UserError(f"bias for {name!r} is set twice: {by_type[name]:+g} and {value:+g}")
        by_type[name] = value
    return by_type


def _due(by_type: Mapping[str, float], machine: TagMachine) -> dict[int, float]:
    """For each context in or just after a tag, what is due by then; empty if every number is 0."""
    possible: dict[int, list[float]] = {}
    for name in machine.markup.types:
        context = machine.OUTSIDE
        for byte in machine.markup.open_tag(name).encode():
            context, _ = machine.tags[context][byte]
            possible.setdefault(context, []).append(by_type.get(name, 0.0))
    if not any(by_type.values()):
        return {}
    closing = dict.fromkeys(machine.closing - {machine.OUTSIDE}, by_type.get(CLOSING, 0.0))
    return closing | {context: common(numbers) for context, numbers in possible.items()}


def common(numbers: Sequence[float]) -> float:
    """What the numbers have in common. Examples: (0.5, 0.2) -> 0.2; (0.5, -0.2) -> 0; (0.5, 0) -> 0."""
    lowest, highest = min(numbers), max(numbers)
    return lowest if lowest > 0 else highest if highest < 0 else 0.0
