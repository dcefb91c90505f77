"""A sentence in a terminal: each name between brackets with its type, on the colour of the type.

    Effect of [aspirin|drug] on [beta-blockers|group].

Control characters in the text are escaped: sequences for the terminal and direction overrides are shown, not
obeyed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TextIO

from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style

from ..data import Mention
from .palette import LETTERS
from .visible import visible

_MARK = Style(dim=True)
_PLAIN = Style()


@dataclass(frozen=True, eq=False)
class _Part:
    """A span of a mention, with what is written before and after it."""

    start: int
    end: int
    type: str
    opening: str
    closing: str


def _parts(mentions: Iterable[Mention]) -> Iterator[_Part]:
    for mention in mentions:
        for n, span in enumerate(mention.spans):
            opening = "[…" if n else "["
            closing = "…]" if n + 1 < len(mention.spans) else "]"
            yield _Part(span.start, span.end, mention.type, opening, f"|{visible(mention.type)}{closing}")


def colour_depth(stream: TextIO) -> ColorSystem | None:
    """How many colours a stream shows; None if it is no terminal, or if NO_COLOR is set.

    No fewer than 256: terminals that TERM calls plain `xterm` have as many, and the 16 are the user's own.
    """
    console = Console(file=stream)
    if not console.is_terminal or console.no_color or console.legacy_windows or not console.color_system:
        return None
    return max(COLOR_SYSTEMS[console.color_system], ColorSystem.EIGHT_BIT)


def coloured(
    text: str, mentions: Iterable[Mention], colours: Mapping[str, str], depth: ColorSystem | None = None
) -> str:
    """The text of a sentence in one line, with its mentions between brackets, each with its type.

    colours: type -> `#RRGGBB`, see `palette.colours_of`; a type without one gets none. depth: what
        `colour_depth` says of the stream; None for the brackets alone.
    Where mentions overlap, the one that began last gives the colour. The parts of a discontinuous mention are
    `[cough|drug…]` and `[…cold|drug]`.
    """
    opened: defaultdict[int, list[_Part]] = defaultdict(list)
    closed: defaultdict[int, list[_Part]] = defaultdict(list)
    for part in sorted(_parts(mentions), key=lambda p: (p.start, -p.end)):
        opened[part.start].append(part)
        closed[part.end].append(part)
    shown: list[str] = []
    active: list[_Part] = []
    for start, end in pairwise([*sorted({0, *opened, *closed, len(text)}), len(text)]):
        for part in reversed(closed[start]):
            active.remove(part)
            shown.append(_MARK.render(part.closing, color_system=depth))
        for part in opened[start]:
            active.append(part)
            shown.append(_MARK.render(part.opening, color_system=depth))
        colour = next((colours[p.type] for p in reversed(active) if p.type in colours), None)
        style = Style(color=LETTERS, bgcolor=colour) if colour else _PLAIN
        shown.append(style.render(visible(text[start:end]), color_system=depth))
    return "".join(shown)
