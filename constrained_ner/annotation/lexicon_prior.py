"""A list of names as prior: what is known to be a name, and of which type, before the model is asked.

Where the text has a listed name, opening a tag there, opening the tag of its type, and closing a tag at its
end become likelier by fixed numbers (see `constraint.place_bias`). The context can still overrule it. Names
are compared as in drafts (see `lexicon`), and found by longest match.

A brand may be an everyday word ("Today", "Relief"). Each public name therefore has a weight: the share of its
places in running text that are names. Its numbers are multiplied by it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ..constraint.place_bias import KnownName
from ..constraint.sentence_automaton import SentenceAutomaton
from ..errors import UserError
from ..formats.name_lines import PUBLIC_NAMES, read_names
from .lexicon import Key, Lexicon, key_of

Names = Literal["public", "none"] | tuple[tuple[str, str], ...] | Path

EVERYDAY_NAMES = PUBLIC_NAMES.with_name("everyday_names.txt")
"""`name|weight` lines: the public names that are also everyday words (see the README beside them)."""

DEFAULT_WEIGHTS = {"open": 0.0, "type": 5.0, "close": 0.0}
"""For a model that has none of its own. Fitted for a tuned one (see docs/lexicon.md)."""


@dataclass(frozen=True)
class LexiconPrior:
    """Listed names with their weights, and the numbers that they add. `none` has no names.

    name: what the list is called in a record.
    """

    name: str
    lexicon: Lexicon
    everyday: Mapping[Key, float]
    opening: float
    of_type: float
    closing: float

    @classmethod
    def read(cls, names: Names, weights: Mapping[str, float], types: Collection[str]) -> LexiconPrior | None:
        """The names of these types; None for "none". Raises InputError, or UserError if no name is left."""
        if names == "none":
            return None
        if names == "public":
            name, pairs, everyday = "public", read_names(PUBLIC_NAMES), everyday_weights()
        elif isinstance(names, Path):
            name, pairs, everyday = names.name, read_names(names), {}
        else:
            name, pairs, everyday = "given", list(names), {}
        lexicon = Lexicon.of(pairs, types)
        if not lexicon.names:
            raise UserError(f"--lexicon {name}: no name has one of the schema's types, {', '.join(types)}")
        numbers = {**DEFAULT_WEIGHTS, **weights}
        return cls(name, lexicon, everyday, numbers["open"], numbers["type"], numbers["close"])

    def names_in(self, constraint: SentenceAutomaton) -> list[KnownName]:
        """The listed names in one text, and what they add."""
        names = []
        for found in self.lexicon.tag(constraint.text):
            weight = self.everyday.get(key_of(found.text), 1.0)
            names.append(
                KnownName(
                    constraint.byte_at(found.start),
                    constraint.byte_at(found.end),
                    found.type,
                    opening=weight * self.opening,
                    of_type=weight * self.of_type,
                    closing=weight * self.closing,
                )
            )
        return names

    def about(self) -> dict[str, Any]:
        """For a record: which names, how many, and the numbers. The hash covers names, types and weights."""
        lines = (
            f"{' '.join(key)}|{kind}|{self.everyday.get(key, 1)}" for key, kind in self.lexicon.names.items()
        )
        return {
            "names": self.name,
            "n_names": len(self.lexicon.names),
            "sha256": hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest(),
            "weights": {"open": self.opening, "type": self.of_type, "close": self.closing},
        }


@cache
def everyday_weights() -> Mapping[Key, float]:
    """The weights of the public names that are also everyday words; all others have weight 1."""
    return {key_of(name): float(weight) for name, weight in read_names(EVERYDAY_NAMES)}
