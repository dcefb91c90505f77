"""How many examples a fine-tuning needs: the F1 of trainings that differ in the number of their examples.

    for n in 50 200 1000 5000; do bin/finetune ... --max-examples $n --select random --out tunings/$n; done
    bin/report tunings-runs/ --learning tunings/ --out curve.html

Each folder's training.json says how many sentences were learnt from, and the best F1 on its --val.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from statistics import mean

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import InputError
from ..files import reason
from ..misfits import first_misfit

RECORD_FILE = "training.json"


class _Settings(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model: str
    loss: str
    full: bool = False


class _Best(BaseModel):
    eval_micro_f1: float
    eval_macro_f1: float


class _Training(BaseModel):
    """What a curve needs of a training's record. Other fields are ignored."""

    settings: _Settings
    n_examples: int
    best: _Best


@dataclass(frozen=True)
class LearningPoint:
    """The trainings of one series with so many examples, such as those of several seeds.

    micro, macro: (mean, lowest, highest) F1 on the validation file.
    """

    n_examples: int
    micro: tuple[float, float, float]
    macro: tuple[float, float, float]


def learning_curves(folder: Path) -> dict[str, list[LearningPoint]]:
    """Series -> its points, fewest examples first. Series differ in model, loss, or what is trained.

    folder: holds trainings, at any depth. Raises InputError if it holds none.
    """
    paths = sorted(folder.rglob(RECORD_FILE))
    if not paths:
        raise InputError(f"{folder}: no finished training ({RECORD_FILE}) in it")
    trainings = [_read(path) for path in paths]
    series: dict[str, dict[int, list[_Best]]] = defaultdict(lambda: defaultdict(list))
    for training in trainings:
        series[_name(training)][training.n_examples].append(training.best)
    return {
        name: [_point(n, found) for n, found in sorted(points.items())]
        for name, points in sorted(series.items())
    }


def _read(path: Path) -> _Training:
    try:
        return _Training.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None
    except ValidationError as error:
        raise InputError(f"{path}: not the record of a training: {first_misfit(error, 'record')}") from None


def _name(training: _Training) -> str:
    parts = [PurePath(training.settings.model).name, f"{training.settings.loss} loss"]
    return ", ".join([*parts, *(["all weights"] if training.settings.full else [])])


def _point(n_examples: int, found: Sequence[_Best]) -> LearningPoint:
    micro, macro = (_spread(f) for f in ([b.eval_micro_f1 for b in found], [b.eval_macro_f1 for b in found]))
    return LearningPoint(n_examples, micro, macro)


def _spread(figures: Iterable[float]) -> tuple[float, float, float]:
    known = list(figures)
    return mean(known), min(known), max(known)
