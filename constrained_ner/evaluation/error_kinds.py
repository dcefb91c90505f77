"""What went wrong, by kind: every gold and every predicted mention is counted exactly once.

    right           same spans, type and name: the official true positives
    type            same spans, another type
    boundary        overlapping, same type
    boundary+type   overlapping, another type
    offset          same name and type elsewhere in the sentence
    name            same spans and type, but gold spells the name differently from the text at its offsets
    missed          a gold mention without a partner
    spurious        a predicted mention without a partner

A pair counts under the type of its gold mention, a spurious mention under its own type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ..data import Mention
from ..formats.evaluator_lines import format_line
from .matching import Pair, match, overlap, same_name

Kind = Literal["right", "type", "boundary", "boundary+type", "offset", "name", "missed", "spurious"]
KINDS: tuple[Kind, ...] = (
    "right", "type", "boundary", "boundary+type", "offset", "name", "missed", "spurious",
)  # fmt: skip
NONE = "none"
"""The row or column of the confusion matrix for mentions without a partner."""


def kind_of(pair: Pair) -> Kind:
    """The kind of a pair."""
    gold, predicted = pair.gold, pair.predicted
    if gold is None or predicted is None:
        return "spurious" if gold is None else "missed"
    if gold.spans == predicted.spans:
        if gold.type != predicted.type:
            return "type"
        return "right" if same_name(gold, predicted) else "name"
    if overlap(gold, predicted):
        return "boundary" if gold.type == predicted.type else "boundary+type"
    return "offset"


@dataclass(frozen=True, slots=True)
class ErrorAnalysis:
    """The pairs by kind, in the order of the data, and the types, sorted."""

    pairs: dict[Kind, tuple[Pair, ...]]
    types: tuple[str, ...]

    def counts(self, kind: Kind) -> Counter[str]:
        """Type -> number of pairs of this kind."""
        return Counter(_type_of(pair) for pair in self.pairs[kind])

    def confusion(self) -> Counter[tuple[str, str]]:
        """(gold type, predicted type) -> number of pairs; mentions that overlap nothing pair with "none".

        The diagonal counts right types, whether or not the boundaries are right.
        """
        matrix: Counter[tuple[str, str]] = Counter()
        for kind, pairs in self.pairs.items():
            for pair in pairs:
                gold, predicted = (m.type if m else NONE for m in (pair.gold, pair.predicted))
                matrix.update([(gold, NONE), (NONE, predicted)] if kind == "offset" else [(gold, predicted)])
        return matrix

    def examples(self, kind: Kind, n: int) -> list[Pair]:
        """Up to n pairs, spread evenly over the data."""
        pairs = self.pairs[kind]
        return [pairs[i * len(pairs) // n] for i in range(n)] if len(pairs) > n else list(pairs)

    def table(self, *, n_examples: int = 3) -> str:
        """Counts by kind and type, the confusion matrix, and examples, ending in a line break."""
        lines = [_row("errors by kind", [*self.types, "all"])]
        for kind in KINDS:
            counts = self.counts(kind)
            lines.append(_row(kind, [*(counts[name] for name in self.types), counts.total()]))
        matrix, names = self.confusion(), (*self.types, NONE)
        lines += ["", _row("gold \\ predicted", names)]
        lines += [_row(gold, [matrix[gold, predicted] for predicted in names]) for gold in names]
        for kind in KINDS[1:]:
            if self.pairs[kind] and n_examples:
                lines += ["", f"{kind}:"]
                lines += [f"  {_shown(pair)}" for pair in self.examples(kind, n_examples)]
        return "".join(line + "\n" for line in lines)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: kind -> type -> number, and confusion: gold -> predicted -> number."""
        matrix, names = self.confusion(), (*self.types, NONE)
        return {
            "by_kind": {kind: dict(sorted(self.counts(kind).items())) for kind in KINDS},
            "confusion": {gold: {p: matrix[gold, p] for p in names} for gold in names},
        }


def analyse_errors(
    gold: Iterable[tuple[str, Mention]], predicted: Iterable[tuple[str, Mention]]
) -> ErrorAnalysis:
    """Sort all mentions by what went wrong. Both are pairs of sentence id and mention."""
    pairs: dict[Kind, list[Pair]] = {kind: [] for kind in KINDS}
    for pair in match(gold, predicted):
        pairs[kind_of(pair)].append(pair)
    types = {m.type for found in pairs.values() for p in found for m in (p.gold, p.predicted) if m}
    return ErrorAnalysis({kind: tuple(found) for kind, found in pairs.items()}, tuple(sorted(types)))


def _type_of(pair: Pair) -> str:
    mention = pair.gold or pair.predicted
    assert mention is not None, "a pair has at least one mention"
    return mention.type


def _row(name: str, cells: Iterable[object]) -> str:
    return f"{name:<17}" + "".join(f"{cell!s:>9}" for cell in cells)


def _shown(pair: Pair) -> str:
    """Example: "d1.s0  gold 2-8|aspirin|drug  predicted 2-13|aspirin 50mg|drug", with inclusive ends."""
    shown = [pair.sentence_id]
    for name, mention in (("gold", pair.gold), ("predicted", pair.predicted)):
        if mention is not None:
            shown.append(f"{name} {format_line('', mention)[1:]}")
    return "  ".join(shown)
