"""`constrained-ner calibrate`: fit the temperature of a model's confidences, or its operating point."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..annotation.annotator import Annotator
from ..annotation.operating_point import is_file
from ..annotation.settings import Settings
from ..errors import InputError, ModelError, UserError
from ..evaluation import Reliability
from ..evaluation.calibration import Confidences, fit_temperature, judge
from ..files import require_writable
from ..formats.documents import read_documents
from ..runs.coverage import record_beside
from ..runs.examples import with_examples
from ..runs.operating_point import with_point_request
from ..runs.record import RunRecord, record_path
from ..training.operating_point import fit_operating_point
from .evaluate import read_confidences
from .options import takes_settings
from .run import CommandLine, note


@takes_settings(without=("force",))
def calibrate(
    gold: Annotated[
        Path, typer.Argument(metavar="GOLD", help="Annotated file that the model was not trained on.")
    ],
    settings: Settings,
    predicted: Annotated[
        Path | None,
        typer.Argument(
            metavar="PREDICTED",
            help="Output of llm-NERC for GOLD with --no-consistency --min-confidence 0. Not with --point.",
            show_default=False,
        ),
    ] = None,
    point: Annotated[
        Path | None,
        typer.Option(
            "--point",
            metavar="FILE",
            help="Fit the operating point of the model on sentences of GOLD, and write it to FILE.",
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store", help="Store the temperature in this GGUF file, model folder or adapter folder."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Store it with a model that did not make PREDICTED.")
    ] = False,
) -> None:
    """Fit a temperature to the confidences of PREDICTED and print their calibration before and after.

    The temperature only changes confidences, not what the model finds. With --point, fit a bias for opening
    each type, which changes what it finds; llm-NERC takes it with --operating-point FILE, and the options of
    model and prompt are the same as there.

    \b
    Examples:
      constrained-ner calibrate devel.xml devel.out
      constrained-ner calibrate devel.xml devel.out --store model.gguf
      constrained-ner calibrate train.xml --point point.json --model tiny.gguf --shots 5 --examples train.xml
    """
    if point is not None:
        if predicted is not None or store is not None:
            raise UserError("--point fits with the model itself; leave out PREDICTED and --store")
        _fit_point(gold, point, settings)
        return
    if predicted is None:
        raise UserError(
            "name the file PREDICTED to fit a temperature, or --point FILE to fit an operating point"
        )
    if store and not force:
        _require_same_model(store, predicted)
    expected = [found for document in read_documents(gold) for found in document.located()]
    if not expected:
        raise InputError(
            f"{gold}: no entities, so nothing says which mentions are right; use an annotated file"
        )
    _require_unfiltered(predicted)
    found = read_confidences(predicted)
    mentions = [mention for _, mention in found]
    _, is_right = judge(expected, found)
    if not any(margins for mention in mentions for margins in mention.margins):
        raise InputError(f"{predicted}: no mention has margins to fit a temperature to; annotate more text")
    temperature = round(fit_temperature(mentions, is_right), 3)
    confidences = Confidences(mentions)
    print(f"temperature {temperature} from {len(mentions)} mentions, {np.mean(is_right):.1%} of them right")
    for value in (1.0, temperature):
        print(f"\nat temperature {value}:\n{Reliability.of(confidences.at(value), is_right).table()}", end="")
    if store:
        from ..backends.bundled_cpu.model_files import graph_path
        from ..backends.temperature import store_temperature

        print(f"stored in {store_temperature(store, temperature)}", file=sys.stderr)
        if graph_path(store, "int8").exists():  # it names the file that it belongs to by its hash
            from ..export.graph import write_graphs

            write_graphs(store)


def _fit_point(gold: Path, path: Path, settings: Settings) -> None:
    """Fit an operating point on sentences of GOLD that are not shown, and write it."""
    require_writable(path)
    asked = replace(settings, operating_point=settings.operating_point or "auto")
    if is_file(str(asked.operating_point)):
        raise UserError(f"--operating-point {asked.operating_point}: name a method, not a file, to fit one")
    shown = with_examples(replace(asked, operating_point=None), list, gold, note)
    bare, request = with_point_request(asked, shown, list, gold, None, note, labelled=gold)
    assert request is not None
    with Annotator.load(settings=bare, notify=note) as annotator:
        fitted = fit_operating_point(annotator, request.asked, request.labelled)
    fitted.save(path)
    print(f"{path}: {fitted.summary()}")


def _require_unfiltered(predicted: Path) -> None:
    """Raise InputError if the run left out mentions or settled them across sentences."""
    record = record_path(predicted)
    options = RunRecord.load(record).options if record.exists() else {}
    if options.get("consistency") or options.get("min_confidence"):
        raise InputError(
            f"{predicted}: mentions were left out or made consistent across sentences; "
            "run llm-NERC again with --no-consistency --min-confidence 0"
        )


def _require_same_model(store: Path, predicted: Path) -> None:
    """Raise ModelError if the record says that another model made the predictions."""
    from ..backends.temperature import hashes_of_model

    record = record_beside(predicted)
    model = record.options.get("model") if record else None
    about = model if isinstance(model, dict) else {}
    # A temperature belongs to an adapter and its base together, and is stored with the adapter.
    expected = about.get("lora_sha256") or about.get("adapter_sha256")
    if expected is None and "adapter" not in about:
        expected = about.get("sha256")
    if expected is None:
        note(f"{predicted}: no record says which model made it; make sure that it was {store}")
    elif store.exists() and expected not in hashes_of_model(store):
        raise ModelError(
            f"{store}: is not the model that made {predicted} ({about.get('name', 'sha256')}, hash "
            f"{expected[:12]}); name that one, or pass --force"
        )


main = CommandLine(calibrate)
