"""What callers give an annotator: texts, examples, names; checked, so that a mistake is named at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..constraint.markup import Markup
from ..data import Sentence, misplaced
from ..errors import UserError
from ..formats.name_lines import read_names
from ..prompting.messages import Chooser
from .lexicon import Lexicon, key_of
from .settings import Settings


def numbered(texts: Iterable[str], method: str) -> Iterator[Sentence]:
    """The texts as sentences, ids from 0. Raises UserError for a single text."""
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise UserError(
            f"{method} takes several texts, such as a list, not {type(texts).__name__}: {texts!r:.40}; "
            "for one text use annotate"
        )
    return (Sentence(str(n), text) for n, text in enumerate(texts))


def given_examples(settings: Settings) -> Sequence[Sentence] | Chooser:
    """The examples to show; chosen from the file that was named, if a run has not chosen them already."""
    examples = settings.examples
    if isinstance(examples, (str, Path)):
        raise UserError("--examples: a run chooses examples from a file; give sentences")
    if not callable(examples):
        _require_placed(examples or ())
    return () if examples is None else examples


def _require_placed(examples: Sequence[Sentence]) -> None:
    """Raise UserError for an example with a mention that is somewhere else."""
    for example in examples:
        for mention in misplaced(example):
            raise UserError(
                f"example {example.id}: mention {mention.text!r} is not at {mention.start}-{mention.end}, "
                f"where the text has {example.text[mention.start : mention.end]!r}; offsets are half-open"
            )


def expected_names(settings: Settings, markup: Markup) -> Lexicon:
    """The names that drafts expect, those of the schema's types."""
    pairs = read_names(settings.names) if isinstance(settings.names, Path) else settings.names or ()
    return Lexicon({key_of(name): kind for name, kind in pairs if kind in markup.types})
