"""Runs side by side: the options that differ between them, and the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..evaluation import Intervals
from ..runs.record import RunRecord
from .measures import NO_VALUE, Measure, measures_of
from .scored_run import ScoredRun
from .table import Table

EXPLANATION = (
    "In brackets: 95 % intervals, by bootstrap over sentences. Differences are to the first run, "
    "paired by sentence: if the interval excludes 0, the difference is unlikely to be chance."
)
_NEVER = ("model.path",)  # the same model may be at another path
_TOO_LONG = ("example_ids",)  # for a column; their hash is enough
_HASHES = ("hash", "sha256", "commit")
_NEEDS_EXAMPLES = ("select", "seed", "examples")  # mean nothing for a run without examples


@dataclass(frozen=True)
class Comparison:
    """Runs with the options that vary between them and their measures.

    varying: option -> its value in each run.
    measures: for each run, key -> measure. The first run is the baseline of the others.
    keys: of the measures that have a column, in order.
    """

    runs: tuple[ScoredRun, ...]
    varying: dict[str, list[str]]
    measures: tuple[dict[str, Measure], ...]
    keys: tuple[str, ...]

    @classmethod
    def of(cls, runs: Sequence[ScoredRun], *, all_measures: bool = False) -> Comparison:
        """Compare runs with the first one.

        all_measures: keep also the measures that are missing or 0 in every run.
        """
        rows = [measures_of(run, runs[0] if n else None) for n, run in enumerate(runs)]
        keys = dict.fromkeys(m.key for row in rows for m in row)
        if not all_measures:
            shown = {m.key for row in rows for m in row if m.value or "f1" in m.key}
            keys = dict.fromkeys(key for key in keys if key in shown)
        return cls(
            runs=tuple(runs),
            varying=varying_options([run.record for run in runs]),
            measures=tuple({m.key: m for m in row} for row in rows),
            keys=tuple(keys),
        )

    @property
    def labels(self) -> list[str]:
        """The headers of the measures' columns."""
        labels = {key: m.label for row in self.measures for key, m in row.items()}
        return [labels[key] for key in self.keys]

    @cached_property
    def best(self) -> dict[str, int]:
        """Key of an F1 -> the run that is above every other by a difference whose interval excludes 0.

        Keys without such a run are missing.
        """
        keys = [key for key in self.keys if "f1" in key]
        columns = {key: [row[key].value if key in row else None for row in self.measures] for key in keys}
        highest = {
            key: max(range(len(self.runs)), key=lambda n: values[n] or 0.0) for key, values in columns.items()
        }
        return {key: n for key, n in highest.items() if self._is_above_all_others(key, n)}

    def _is_above_all_others(self, key: str, n: int) -> bool:
        others = [other for other in range(len(self.runs)) if other != n]
        return bool(others) and all(self._is_above(key, n, other) for other in others)

    def _is_above(self, key: str, n: int, other: int) -> bool:
        if (n, other) not in self._differences:
            self._differences[n, other] = self.runs[n].difference_to(self.runs[other])
        difference = self._differences[n, other]
        if difference is None:
            return False
        averages = {"micro_f1": difference.micro, "macro_f1": difference.macro}
        return (averages.get(key) or difference.by_type[key.removeprefix("f1_")]).low > 0

    @cached_property
    def _differences(self) -> dict[tuple[int, int], Intervals | None]:
        return {}

    def table(self, *, options: bool = True) -> Table:
        """A row for each run. options: whether to show the options that vary, between name and figures."""
        varying = self.varying if options else {}
        rows = [
            (
                str(n + 1),
                run.name,
                *(values[n] for values in varying.values()),
                *(row[key].text() if key in row else NO_VALUE for key in self.keys),
            )
            for n, (run, row) in enumerate(zip(self.runs, self.measures, strict=True))
        ]
        return Table(("#", "run", *varying, *self.labels), tuple(rows), n_names=2 + len(varying))


def varying_options(records: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Option -> its value in each run, for the options that differ between runs.

    Nested options have dotted names (`model.name`). A hash is only included if runs that differ in it differ
    in nothing else, such as a prompt that was edited under the same name. Options that choose examples are
    compared only between runs that have examples.

    Example: runs with shots 0 and 5 and all else equal -> {"shots": ["0", "5"]}
    """
    flat = [dict(_flatten(_with_input(record))) for record in records]
    columns = {name: [options.get(name, NO_VALUE) for options in flat] for name in _names(flat)}
    varying = {name: values for name, values in columns.items() if len(_settings(name, flat)) > 1}
    varying = {name: values for name, values in varying.items() if name not in _TOO_LONG}
    plain = {name: values for name, values in varying.items() if not _is_hash(name)}
    for name, values in varying.items():
        if _is_hash(name) and not _told_apart(values, plain):
            plain[name] = [value[:8] for value in values]
    return plain


def shared_options(records: Sequence[RunRecord]) -> dict[str, str]:
    """Option -> value, for the options that are the same in all runs that they apply to."""
    flat = [dict(_flatten(_with_input(record))) for record in records]
    settings = {name: _settings(name, flat) for name in _names(flat)}
    return {
        name: value[:8] if _is_hash(name) else value
        for name, values in settings.items()
        if len(values) == 1
        for value in values
    }


def _names(flat: Sequence[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for options in flat for name in options))


def _settings(name: str, flat: Sequence[Mapping[str, str]]) -> set[str]:
    """The distinct values of an option in the runs that it applies to."""
    return {
        options.get(name, NO_VALUE)
        for options in flat
        if name not in _NEEDS_EXAMPLES or options.get("shots") != "0"
    }


def _with_input(record: RunRecord) -> dict[str, Any]:
    return {"input": record.input.replace("\\", "/").rsplit("/", 1)[-1], **record.options}


def _flatten(options: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in options.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{name}.")
        elif name not in _NEVER:
            yield name, _shown(value)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return NO_VALUE
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value)) or NO_VALUE
    return str(value)


def _is_hash(name: str) -> bool:
    return name.endswith(_HASHES)


def _told_apart(values: Sequence[str], columns: Mapping[str, Sequence[str]]) -> bool:
    """Whether runs that differ in `values` always differ in another column as well."""
    seen: dict[tuple[str, ...], str] = {}
    for n, value in enumerate(values):
        others = tuple(column[n] for column in columns.values())
        if seen.setdefault(others, value) != value:
            return False
    return True
