"""`bin/evaluate`: predictions against gold."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..corpora.ddi import read_ddi, read_predictions
from ..evaluation import evaluate
from ..journal import require_writable, write_atomically
from .run import run


def score(
    gold: Annotated[Path, typer.Argument(help="DDI XML with the right entities.")],
    predicted: Annotated[Path, typer.Argument(help="Evaluator lines, as llm-NERC writes them.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here, too.")] = None,
) -> None:
    """Print the official table of the DDI evaluator."""
    gold_mentions = [
        (sentence.id, mention)
        for document in read_ddi(gold)
        for sentence in document
        for mention in sentence.mentions
    ]
    evaluation = evaluate(gold_mentions, read_predictions(predicted))
    sys.stdout.write(evaluation.table())
    if json_file:
        require_writable(json_file)
        write_atomically(json_file, [json.dumps(evaluation.as_dict(), indent=2), "\n"])


def main() -> None:
    """Entry point."""
    run(score)
