"""What callers give an annotator: texts, examples, names; checked, so that a mistake is named at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from ..constraint.markup import Markup
from ..data import Sentence, misplaced
from ..errors import UserError
from ..formats.name_lines import read_names
from ..prompting.examples.request import ExampleRequest
from ..prompting.messages import Chooser
from ..schema import Schema
from ..text.corpus import read_labelled
from .lexicon import Lexicon, public_names
from .operating_point import OperatingPoint, is_file
from .settings import Settings


def numbered(texts: Iterable[str], method: str) -> Iterator[Sentence]:
    """The texts as sentences, ids from 0. Raises UserError for a single text."""
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise UserError(
            f"{method} takes several texts, such as a list, not {type(texts).__name__}: {texts!r:.40}; "
            "for one text use annotate"
        )
    return (Sentence(str(n), text) for n, text in enumerate(texts))


def given_examples(settings: Settings, schema: Schema) -> Sequence[Sentence] | Chooser:
    """The examples to show. From a file, any of its sentences may be one: nobody said what is evaluated."""
    examples = settings.examples
    if isinstance(examples, Path):
        request = ExampleRequest.wanted(settings.shots, examples, settings.select, settings.seed)
        if request is None:
            return ()
        documents = read_labelled(examples)
        usable = {sentence.id for document in documents for sentence in document}
        return request.choose(documents, usable, (), schema, settings.boundary)
    if not callable(examples):
        _require_placed(examples or ())
    return () if examples is None else examples


def with_stored_point(settings: Settings) -> Settings:
    """The settings with the bias of the operating point's file.

    Raises UserError for a point that has to be fitted first.
    """
    if settings.operating_point is None:
        return settings
    if not is_file(settings.operating_point):
        raise UserError(
            f"operating_point={settings.operating_point!r}: an annotator takes one that is fitted: name a "
            "file that bin/calibrate wrote with --point, or use bin/llm-NERC or annotate_file"
        )
    point = OperatingPoint.load(Path(settings.operating_point))
    return replace(settings, bias=point.bias, operating_point=None)


def _require_placed(examples: Sequence[Sentence]) -> None:
    """Raise UserError for an example with a mention that is somewhere else."""
    for example in examples:
        for mention in misplaced(example):
            raise UserError(
                f"example {example.id}: mention {mention.text!r} is not at {mention.start}-{mention.end}, "
                f"where the text has {example.text[mention.start : mention.end]!r}; offsets are half-open"
            )


def expected_names(settings: Settings, markup: Markup, *, drafts: bool) -> Callable[[], Lexicon]:
    """What drafts expect at first: the user's names, read now, or the public ones, read when a run begins.

    Free generation does without public names: it has no budget for wrong guesses.
    """
    if settings.names is None and drafts:
        return cache(lambda: public_names(markup.types))
    pairs = read_names(settings.names) if isinstance(settings.names, Path) else settings.names or ()
    names = Lexicon.of(pairs, markup.types)
    return lambda: names
