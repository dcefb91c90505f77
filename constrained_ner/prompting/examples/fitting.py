"""What is dropped where not all examples fit a prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from ...data import Sentence


def most_that_fit(
    examples: Sequence[Sentence], fits: Callable[[Sequence[Sentence]], bool], *, best_last: bool = False
) -> tuple[Sentence, ...]:
    """The examples, in order, without as many of the least useful as it takes for the rest to fit.

    The last ones go first (with best_last, the first ones), but as long as there are others, none that is the
    only one to show one of the types.
    """
    kept = list(reversed(examples)) if best_last else list(examples)
    while kept and not fits(kept[::-1] if best_last else kept):
        del kept[_least_useful(kept)]
    return tuple(kept[::-1] if best_last else kept)


def _least_useful(examples: Sequence[Sentence]) -> int:
    types = [{mention.type for mention in example.mentions} for example in examples]
    shown = Counter(name for names in types for name in names)
    spare = (at for at in reversed(range(len(examples))) if all(shown[name] > 1 for name in types[at]))
    return next(spare, len(examples) - 1)
