"""The colours of entity types, the same wherever a sentence is shown.

They are backgrounds for black letters, and stay distinct in colour-blind eyes: the scheme "light" of
Paul Tol, Colour Schemes, SRON/EPS/TN/09-002, 2021, in an order that keeps the first few far apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle

LETTERS = "#000000"
PALETTE = (
    *("#77AADD", "#EE8866", "#EEDD88", "#FFAABB", "#44BB99"),  # light blue, orange, light yellow, pink, mint
    *("#BBCC33", "#99DDFF", "#AAAA00", "#DDDDDD"),  # pear, light cyan, olive, pale grey
)


def colours_of(types: Iterable[str]) -> dict[str, str]:
    """The colour of each type, as `#RRGGBB`, in order; types beyond the palette begin it again."""
    return dict(zip(dict.fromkeys(types), cycle(PALETTE)))
