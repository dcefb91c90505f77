"""Says once that a list may find more, where a model that was not tuned goes on copying and marks nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .result import Annotated

N_SENTENCES = 30
"""In a text about something else, so many sentences may well have no name, so this is a hint and no more."""


def with_hint(results: Iterable[Annotated], notify: Callable[[str], None]) -> Iterator[Annotated]:
    """The results; `notify` is called if none of the first `N_SENTENCES` has a mention."""
    n_empty = 0
    may_be_said = True
    for annotated in results:
        if may_be_said and annotated.failure is None and annotated.sentence.text.strip():
            n_empty += 1
            if annotated.sentence.mentions:
                may_be_said = False
            elif n_empty == N_SENTENCES:
                notify(
                    f"no name in the first {N_SENTENCES} sentences: models that were not tuned may find more "
                    "with --answer list"
                )
                may_be_said = False
        yield annotated
