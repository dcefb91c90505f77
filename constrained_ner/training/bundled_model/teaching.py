"""Self-training: an earlier model marks running text, and the lexicon corrects it.

The lexicon knows names that the model has never seen. The model knows which words are names in this sentence,
and names that no lexicon has. A student that learns from both sees far more sentences than gold has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ...annotation.annotator import Annotator
from ...data import Mention, Sentence, Span
from ...errors import InputError
from ...files import read_lines, write_atomically

LISTED_WHOLE = ("drug", "brand")
"""Types whose names a lexicon lists one by one. Of the other types it knows too few to overrule the model."""

MIN_CONFIDENCE = 0.5


def teach(
    teacher: Annotator, tagged: Sequence[Sentence], n: int, path: Path, rng: np.random.Generator
) -> list[Sentence]:
    """Let the teacher mark `n` of the sentences that the lexicon tagged; keep the result in `path`.

    Sentences with mentions that the teacher is unsure of are left out. Raises InputError if none is left.
    """
    if not path.exists():
        some = [tagged[i] for i in rng.permutation(len(tagged))[:n]]
        write_atomically(path, _labelled(teacher, some))
    taught = [_read(line, f"{path}: line {number}") for number, line in enumerate(read_lines(path), start=1)]
    if not taught:
        raise InputError(f"{path}: empty: the teacher was unsure of all {n} sentences")
    return taught


def reconciled(listed: Iterable[Mention], marked: Iterable[Mention]) -> tuple[Mention, ...] | None:
    """Merge the lexicon's mentions with the teacher's; None if the teacher is unsure.

    On the same span, the lexicon decides the type if it lists a drug or a brand. On overlapping spans the
    teacher is right, since it has seen the context.
    """
    kinds = {m.spans: m.type for m in listed if m.type in LISTED_WHOLE}
    kept: list[Mention] = []
    for mention in marked:
        kind = kinds.get(mention.spans)
        if kind is None and (mention.confidence or 0.0) < MIN_CONFIDENCE:
            return None
        kept.append(Mention(mention.spans, kind or mention.type, mention.text))
    free = [m for m in listed if m.type in LISTED_WHOLE and not any(_overlap(m, k) for k in kept)]
    return tuple(sorted((*kept, *free), key=lambda m: m.start))


def _overlap(a: Mention, b: Mention) -> bool:
    return a.start < b.end and b.start < a.end


def _labelled(teacher: Annotator, sentences: Sequence[Sentence]) -> Iterator[str]:
    for listed, found in zip(sentences, teacher.run(sentences), strict=True):
        mentions = None if found.failure else reconciled(listed.mentions, found.sentence.mentions)
        if mentions is not None:
            entities = [{"start": m.start, "end": m.end, "type": m.type} for m in mentions]
            yield json.dumps({"id": listed.id, "text": listed.text, "entities": entities}) + "\n"


def _read(line: str, place: str) -> Sentence:
    try:
        record = json.loads(line)
        text = record["text"]
        mentions = (
            Mention((Span(e["start"], e["end"]),), e["type"], text[e["start"] : e["end"]])
            for e in record["entities"]
        )
        return Sentence(record["id"], text, tuple(mentions))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{place}: not an annotated sentence: {error!r}") from None
