"""`constrained-ner calibrate`: fit the temperature that calibrates confidences, and store it with a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..errors import InputError, ModelError
from ..evaluation import Reliability
from ..evaluation.calibration import Confidences, fit_temperature, judge
from ..formats.documents import read_documents
from ..runs.coverage import record_beside
from ..runs.record import RunRecord, record_path
from .evaluate import read_confidences
from .run import CommandLine, note


def calibrate(
    gold: Annotated[
        Path, typer.Argument(metavar="GOLD", help="Annotated file that the model was not trained on.")
    ],
    predicted: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTED", help="Output of llm-NERC for GOLD with --no-consistency --min-confidence 0."
        ),
    ],
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

    The temperature only changes confidences, not what the model finds.

    \b
    Examples:
      constrained-ner calibrate devel.xml devel.out
      constrained-ner calibrate devel.xml devel.out --store model.gguf
    """
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
