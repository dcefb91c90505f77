"""The four schemes of SemEval-2013 task 9.1 (Segura-Bedmar et al. 2013), which come from MUC.

    strict    right spans and right type
    exact     right spans, any type
    partial   right spans, any type; overlapping spans count half
    type      right type, overlapping spans

Each gold and each predicted mention is counted once, in the pairs of `matching`: COR (correct), INC (paired,
but wrong), PAR (overlapping, only in `partial`), MIS (missed), SPU (spurious). Then

    P = (COR + PAR / 2) / (COR + INC + PAR + SPU)        R = (COR + PAR / 2) / (COR + INC + PAR + MIS)

By type, P is over the predictions of the type and R over its gold mentions. So the strict rows equal those of
the official table, except for names that gold spells differently from the text, which only the official table
counts as wrong. The macro average is the mean over the gold types. The package nervaluate counts alike, but
pairs differently if one mention overlaps several, and puts a wrongly typed prediction under the gold type.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..data import Mention
from .matching import Pair, match, overlap
from .official import Averages, harmonic_mean

SCHEMES = ("strict", "exact", "partial", "type")
_COUNTS = ("cor", "inc", "par", "mis", "spu")


@dataclass(frozen=True, slots=True)
class SchemeCounts:
    """One row of one scheme: all types, or one.

    cor, inc, par: numbers of pairs. mis, spu: numbers of mentions without a partner.
    n_predicted, n_gold: denominators of precision and recall.
    credit_predicted, credit_gold: their numerators, COR + PAR / 2; different if pairs mix two types.
    """

    cor: int
    inc: int
    par: int
    mis: int
    spu: int
    n_predicted: int
    n_gold: int
    credit_predicted: float
    credit_gold: float

    @property
    def precision(self) -> float:
        return self.credit_predicted / self.n_predicted if self.n_predicted else 0.0

    @property
    def recall(self) -> float:
        return self.credit_gold / self.n_gold if self.n_gold else 0.0

    @property
    def f1(self) -> float:
        return harmonic_mean(self.precision, self.recall)


@dataclass(frozen=True, slots=True)
class SemEval:
    """Scheme -> counts over all types, and scheme -> gold type -> counts."""

    micro: dict[str, SchemeCounts]
    by_type: dict[str, dict[str, SchemeCounts]]

    def macro(self, scheme: str) -> Averages:
        return Averages.of(self.by_type[scheme].values())

    def table(self) -> str:
        """A line for each scheme, then F1 by type, ending in a line break."""
        heads = ("P", "R", "F1", "macro P", "R", "F1")
        lines = [f"{'SemEval-2013':<13}" + "".join(f"{h.upper():>6}" for h in _COUNTS)]
        lines[0] += "".join(f"{head:>9}" for head in heads)
        for scheme, row in self.micro.items():
            macro = self.macro(scheme)
            figures = (row.precision, row.recall, row.f1, macro.precision, macro.recall, macro.f1)
            counts = "".join(f"{getattr(row, name):>6}" for name in _COUNTS)
            lines.append(f"{scheme:<13}{counts}" + "".join(f"{figure:>9.1%}" for figure in figures))
        lines += ["", f"{'F1 by type':<13}" + "".join(f"{scheme:>9}" for scheme in SCHEMES)]
        for name in self.by_type[SCHEMES[0]]:
            lines.append(f"{name:<13}" + "".join(f"{self.by_type[s][name].f1:>9.1%}" for s in SCHEMES))
        return "".join(line + "\n" for line in lines)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: scheme -> micro, macro and by_type."""
        return {
            scheme: {
                "micro": _plain(row),
                "macro": {name: getattr(self.macro(scheme), name) for name in ("precision", "recall", "f1")},
                "by_type": {name: _plain(counts) for name, counts in self.by_type[scheme].items()},
            }
            for scheme, row in self.micro.items()
        }


def score_semeval(gold: Iterable[tuple[str, Mention]], predicted: Iterable[tuple[str, Mention]]) -> SemEval:
    """Score predictions in all schemes. Both are pairs of sentence id and mention."""
    pairs = match(gold, predicted)
    types = sorted({pair.gold.type for pair in pairs if pair.gold})
    return SemEval(
        micro={scheme: _count(pairs, scheme) for scheme in SCHEMES},
        by_type={scheme: {name: _count(pairs, scheme, name) for name in types} for scheme in SCHEMES},
    )


def _count(pairs: Iterable[Pair], scheme: str, type_name: str | None = None) -> SchemeCounts:
    """Count pairs by the type of their gold mention, spurious mentions by their own; None counts all."""

    def counts_here(mention: Mention | None) -> bool:
        return mention is not None and type_name in (None, mention.type)

    tally = dict.fromkeys(_COUNTS, 0)
    n_predicted = n_gold = 0
    credit_predicted = credit_gold = 0.0
    for pair in pairs:
        outcomes = _outcomes(pair, scheme)
        credit = {"cor": 1.0, "par": 0.5}.get(outcomes[0], 0.0)
        if counts_here(pair.gold):
            n_gold += 1
            credit_gold += credit
        if counts_here(pair.predicted):
            n_predicted += 1
            credit_predicted += credit
        for outcome in outcomes:
            tally[outcome] += counts_here(pair.predicted if outcome == "spu" else pair.gold)
    return SchemeCounts(
        **tally,
        n_predicted=n_predicted,
        n_gold=n_gold,
        credit_predicted=credit_predicted,
        credit_gold=credit_gold,
    )


def _outcomes(pair: Pair, scheme: str) -> tuple[str, ...]:
    """What a pair counts as. Mentions that do not overlap count as one missed and one spurious."""
    gold, predicted = pair.gold, pair.predicted
    if gold is None:
        return ("spu",)
    if predicted is None:
        return ("mis",)
    if not overlap(gold, predicted):
        return ("mis", "spu")
    same_spans, same_type = gold.spans == predicted.spans, gold.type == predicted.type
    if scheme == "partial":
        return ("cor",) if same_spans else ("par",)
    right = {"strict": same_spans and same_type, "exact": same_spans, "type": same_type}[scheme]
    return ("cor",) if right else ("inc",)


def _plain(row: SchemeCounts) -> dict[str, int | float]:
    counts = {name: getattr(row, name) for name in _COUNTS}
    return {**counts, "precision": row.precision, "recall": row.recall, "f1": row.f1}
