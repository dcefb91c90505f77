"""JSON lines that doccano imports for sequence labelling. They are read as any JSON is (`json_shapes.spans`).

    {"id": "leaflet", "text": "Take aspirin.", "label": [[5, 12, "drug"]]}

Offsets are half-open code points. A project must allow overlapping entities to take mentions that do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from ..data import Document
from .flat_mentions import count_confidences, outer
from .labelled_texts import labelled_texts
from .protocol import Losses


def write_doccano(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """The lines of a file."""
    for id, text, mentions in labelled_texts(documents, losses):
        count_confidences(mentions, losses)
        labels = [[mention.start, mention.end, mention.type] for mention in outer(mentions, losses)]
        yield json.dumps({"id": id, "text": text, "label": labels}, ensure_ascii=False) + "\n"
