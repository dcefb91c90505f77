"""A step of a Ray Data pipeline that annotates a column of texts.

    import ray
    from constrained_ner.integrations.ray import Annotate

    notes = ray.data.read_parquet("notes.parquet")
    named = notes.map_batches(
        Annotate,
        fn_constructor_kwargs={"text": "note", "options": {"min_confidence": 0.9}},
        compute=ray.data.ActorPoolStrategy(size=8),      # so many copies of the model
        num_cpus=1,
    )

For a whole corpus into files, with records and restarts, see `--ray` (`runs/cluster.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..annotation.annotator import Annotator
from ..data import Document


class Annotate:
    """Adds the columns `mentions` and `failure` to batches of rows. The model is loaded once an actor.

    text: the column of texts; each is a document of its own: its sentences agree on each name.
    options: keywords of `Annotator.load`, such as model and min_confidence.

    A row's mentions are a list of {start, end, text, type, confidence}, half-open code points of its text.
    failure: why sentences of the text have none, a line each; null if all went well. A text that is null has
    no mentions.
    """

    def __init__(self, text: str = "text", options: Mapping[str, Any] | None = None) -> None:
        self._text = text
        self._annotator = Annotator.load(**(options or {}))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        texts = ["" if text is None else str(text) for text in batch[self._text]]
        documents = [Document.of_text(str(number), text) for number, text in enumerate(texts)]
        found = list(self._annotator.annotate_documents(documents))
        return {**batch, "mentions": [_mentions(d) for d in found], "failure": [_failure(d) for d in found]}


def _mentions(document: Document) -> list[dict[str, Any]]:
    return [
        {"start": m.start, "end": m.end, "text": m.text, "type": m.type, "confidence": m.confidence}
        for _, m in document.located()
    ]


def _failure(document: Document) -> str | None:
    return "\n".join(s.failure for s in document if s.failure is not None) or None
