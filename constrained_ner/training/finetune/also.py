"""Sentences of another corpus that a fine-tuning learns from, too: what its marks say about our types."""

from __future__ import annotations

from ...errors import UserError
from ...schema import Schema
from ...text.corpus import read_labelled
from ..partial_labels import PartialLabels
from ..targets import TargetWriter, WrittenTargets
from .data import Log
from .folder import FinetuneSettings
from .selection import select


def check_also(settings: FinetuneSettings) -> None:
    """Raise UserError if some options of another corpus are missing."""
    if (settings.also is None) != (not settings.also_types) or (settings.also_examples and not settings.also):
        raise UserError("--also and --also-types go together: a file, and what its types mean")


def write_also(settings: FinetuneSettings, schema: Schema, writer: TargetWriter, log: Log) -> WrittenTargets:
    """Write the examples of --also; none without it. Raises UserError, naming option or file."""
    if settings.also is None or settings.also_types is None:
        return WrittenTargets()
    labels = PartialLabels.parse(settings.also_types, schema)
    documents = read_labelled(settings.also, notify=lambda message: log(f"note: {message}"))
    sentences = [sentence for document in documents for sentence in document]
    labels.require(sentences, str(settings.also))
    written = writer.write_all(select(sentences, "random", settings.also_examples, settings.seed), labels)
    n_open = sum(d.n_right > 1 for e in written.examples for d in e.decisions)
    n_known = sum(len(e.decisions) for e in written.examples) - n_open
    log(
        f"{settings.also}: {len(written.examples)} more examples, {n_known} decisions with one right answer, "
        f"{n_open} with several"
    )
    return written
