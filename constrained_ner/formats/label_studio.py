"""A Label Studio project: tasks to import, and the labelling configuration that fits them.

    tasks.json    [{"data": {"id": "leaflet", "text": "Take aspirin."}, "predictions": [...]}]
    config.xml    <View><Labels name="label" toName="text">...</Labels><Text name="text" .../></View>

Mentions of a model are predictions, gold ones annotations. The score of a prediction is the confidence of its
least sure mention: sorted by it, the tasks come in the order in which a person's time is best spent.
Reading is in `json_shapes.label_studio`. Source: labelstud.io/guide/predictions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from xml.sax.saxutils import quoteattr

from ..data import Document, Mention
from .flat_mentions import outer
from .labelled_texts import LabelledText, labelled_texts
from .protocol import UNTYPED, Losses

MODEL_VERSION = "constrained-ner"
_LABELS, _TEXT = "label", "text"
"""Names of the tag that labels and of the tag with the text; tasks and configuration must agree on them."""

_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def write_label_studio(documents: Iterable[Document], losses: Losses) -> Iterator[tuple[str, str]]:
    """The two files of a project. The configuration declares every label that the tasks use."""
    types: set[str] = set()
    number = 0
    for number, text in enumerate(labelled_texts(documents, losses), start=1):
        task = _task(number, text, losses)
        types.update(_label(mention) for mention in text.mentions)
        separator = "[\n" if number == 1 else ",\n"
        yield "tasks.json", separator + json.dumps(task, ensure_ascii=False)
    yield "tasks.json", "\n]\n" if number else "[]\n"
    yield "config.xml", _configuration(sorted(types) or [UNTYPED])


def _task(number: int, text: LabelledText, losses: Losses) -> dict[str, Any]:
    gold = [mention for mention in text.mentions if mention.provenance == "gold"]
    predicted = [mention for mention in text.mentions if mention.provenance != "gold"]
    task: dict[str, Any] = {"data": {"id": text.id, "text": text.text}}
    if gold:
        losses.add("confidences of gold mentions left out", sum(m.confidence is not None for m in gold))
        task["annotations"] = [{"result": _regions(f"{number}-a", text.text, gold, losses)}]
    if predicted or not gold:
        confidences = [mention.confidence for mention in predicted if mention.confidence is not None]
        score = {"score": round(min(confidences), 6)} if confidences else {}
        regions = _regions(f"{number}-p", text.text, predicted, losses)
        task["predictions"] = [{"model_version": MODEL_VERSION, **score, "result": regions}]
    return task


def _regions(prefix: str, text: str, mentions: Iterable[Mention], losses: Losses) -> list[dict[str, Any]]:
    """The regions of one answer. prefix: makes their ids unique in the project."""
    regions = []
    for n, mention in enumerate(outer(mentions, losses)):
        region: dict[str, Any] = {
            "id": f"{prefix}{n}",
            "from_name": _LABELS,
            "to_name": _TEXT,
            "type": "labels",
            "value": {
                "start": mention.start,
                "end": mention.end,
                "text": text[mention.start : mention.end],
                "labels": [_label(mention)],
            },
        }
        if mention.provenance != "gold":
            region["provenance"] = mention.provenance
            if mention.confidence is not None:
                region["score"] = round(mention.confidence, 6)
        regions.append(region)
    return regions


def _label(mention: Mention) -> str:
    """The type, without what the configuration cannot hold."""
    return _NOT_IN_XML.sub("\ufffd", mention.type)


def _configuration(types: Iterable[str]) -> str:
    labels = "".join(f"    <Label value={quoteattr(type)}/>\n" for type in types)
    return (
        f'<View>\n  <Labels name="{_LABELS}" toName="{_TEXT}">\n{labels}  </Labels>\n'
        f'  <Text name="{_TEXT}" value="$text"/>\n</View>\n'
    )
