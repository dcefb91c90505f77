"""A text with its mentions as HTML: each name is a `<mark>` that carries its type in words.

    Effect of <mark class="t0 s5" title="aspirin: drug ...">aspirin<small> drug</small></mark>.

Nothing of a text is interpreted: markup is escaped, and characters that would be obeyed or not be seen stand
there as escapes (see `visible`). Text and types are all that a mark is made of, so a page and a notebook may
both show it. Colours come from `templates/pages/marks.css`; classes: `t0`, `t1`, ... for the type, `s1` to
`s5` for how sure the model was, `v-missed` and the like for what became of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from ..data import Mention, Provenance
from .visible import escaped, visible

VERDICTS: dict[str, tuple[str, str]] = {
    "right": ("✓", "right"),
    "same": ("=", "in both"),
    "type": ("≠", "another type"),
    "boundary": ("↔", "other borders"),
    "boundary+type": ("⇹", "other borders and type"),
    "offset": ("⇄", "at another place"),
    "name": ("≈", "spelt otherwise"),
    "missed": ("−", "missed"),
    "spurious": ("+", "spurious"),
    "only": ("+", "only here"),
}
"""What became of a mention -> the sign that stands before its type, and what it means."""

SHADES: tuple[tuple[float, str], ...] = (
    (0.0, "under 50 %"),
    (0.5, "50 to 70 %"),
    (0.7, "70 to 90 %"),
    (0.9, "90 to 97 %"),
    (0.97, "97 % and over"),
)
"""The least confidence of each shade, palest first, and what it is called."""

PROVENANCES: dict[Provenance, str] = {
    "gold": "from a file",
    "constrained": "constrained: offsets exact by construction",
    "exact": "exact: the answer quotes the text",
    "normalised": "normalised: equal up to case and white space",
    "fuzzy": "fuzzy: the nearest text",
    "repeated": "repeated: marked elsewhere in the document",
}


_GAP = "<small>…</small>"  # where a name goes on elsewhere; what is not of the text is in <small>


@dataclass(frozen=True, slots=True)
class Mark:
    """A mention as it is shown.

    verdict: what became of it, a key of `VERDICTS`; None if it was compared with nothing.
    partner: the mention that it was compared with, which is of `against` (such as "gold").
    number: unique in a page; None outside of one. name: number of its row in the page's table of names.
    """

    mention: Mention
    verdict: str | None = None
    partner: Mention | None = None
    against: str = ""
    number: int | None = None
    name: int | None = None


@dataclass(frozen=True, eq=False)
class _Part:
    """A span of a mark."""

    start: int
    end: int
    mark: Mark
    is_first: bool
    is_last: bool


def text_html(text: str) -> str:
    """A text as HTML that shows it, to the character. Line breaks and tabs stay; CSS has to keep them."""
    if text.isprintable():
        return escape(text)
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character in "\n\t":
        return character
    written = escaped(character)
    if written == character:
        return escape(character)
    return f'<span class="unseen" title="U+{ord(character):04X}">{written}</span>'


def marked_html(text: str, marks: Iterable[Mark], types: Mapping[str, int]) -> str:
    """The text with its marks. types: type -> number of its colour.

    Elements nest as HTML wants it: where mentions cross, one is written in pieces. A place beyond the text
    is drawn at its end.
    """
    parts = sorted(_parts(text, marks), key=lambda part: (part.start, -part.end))
    pieces: list[str] = []
    open_parts: list[tuple[_Part, bool]] = []  # with whether a piece of it was written before
    at = 0

    def write_until(place: int) -> None:
        nonlocal at
        pieces.append(text_html(text[at:place]))
        at = max(at, place)

    def close_until(place: int) -> None:
        while open_parts and (end := min(part.end for part, _ in open_parts)) <= place:
            write_until(end)
            reopened: list[_Part] = []
            while any(part.end == end for part, _ in open_parts):
                part, _ = open_parts.pop()
                pieces.append(_closing(part, done=part.end == end))
                if part.end > end:
                    reopened.append(part)
            for part in reversed(reopened):
                pieces.append(_opening(part, types, again=True))
                open_parts.append((part, True))

    for part in parts:
        close_until(part.start)
        write_until(part.start)
        pieces.append(_opening(part, types))
        open_parts.append((part, False))
    close_until(len(text))
    write_until(len(text))
    return "".join(pieces)


def _parts(text: str, marks: Iterable[Mark]) -> Iterator[_Part]:
    for mark in marks:
        spans = [
            (min(span.start, len(text)), min(span.end, len(text)))
            for span in mark.mention.spans
            if span.start < len(text)
        ]
        for n, (start, end) in enumerate(spans):
            yield _Part(start, end, mark, n == 0, n + 1 == len(spans))


def _opening(part: _Part, types: Mapping[str, int], *, again: bool = False) -> str:
    mark = part.mark
    mention = mark.mention
    classes = [f"t{types.get(mention.type, 0)}", f"s{shade_of(mention.confidence)}"]
    if mark.verdict is not None:
        classes.append(f"v-{mark.verdict.replace('+', '-')}")
    attributes = [f'class="{" ".join(classes)}"']
    if mark.number is not None:
        if part.is_first and not again:
            attributes.append(f'id="m{mark.number}"')
        attributes.append(f'data-m="{mark.number}"')
        attributes += [
            f'data-{name}="{value}"'
            for name, value in (("c", _figure(mention.confidence)), ("n", mark.name), ("v", mark.verdict))
            if value is not None
        ]
    attributes.append(f'title="{escape(details(mark))}"')
    return f"<mark {' '.join(attributes)}>" + ("" if part.is_first or again else _GAP)


def _closing(part: _Part, *, done: bool) -> str:
    if not done:
        return "</mark>"
    if not part.is_last:
        return f"{_GAP}</mark>"
    return f"<small> {escape(label(part.mark))}</small></mark>"  # a word of its own


def label(mark: Mark) -> str:
    """What stands beside a name. Example: "≠ brand (gold drug)" for what is a drug in gold."""
    said = visible(mark.mention.type)
    if mark.verdict is None:
        return said
    sign = VERDICTS[mark.verdict][0]
    other = mark.partner.type if mark.partner else mark.mention.type
    if other == mark.mention.type:
        return f"{sign} {said}"
    return f"{sign} {said} ({f'{mark.against} {visible(other)}'.lstrip()})"


def details(mark: Mark) -> str:
    """All that is known of a mention, a thing a line."""
    mention = mark.mention
    lines = [f"{visible(mention.text)}: {visible(mention.type)}"]
    if mark.verdict is not None:
        lines.append(VERDICTS[mark.verdict][1])
    if mark.partner is not None and mark.verdict not in ("right", "same"):
        lines.append(
            f"{mark.against or 'the other'}: {visible(mark.partner.text)} ({visible(mark.partner.type)})"
        )
    if mention.confidence is not None:
        lines.append(f"confidence {percent(mention.confidence)}")
    if mark.verdict != "missed":
        score = "" if mention.score is None else f", similarity {percent(mention.score)}"
        lines.append(PROVENANCES.get(mention.provenance, mention.provenance) + score)
    spans = ", ".join(f"{span.start}–{span.end}" for span in mention.spans)
    return "\n".join([*lines, f"characters {spans}"])


def shade_of(confidence: float | None) -> int:
    """The shade of a confidence, 1 to 5. What has none is shown in full."""
    if confidence is None:
        return len(SHADES)
    return max(1, bisect_right([least for least, _ in SHADES], confidence))


def percent(value: float) -> str:
    """A share to a tenth of a percent, which never says 100 of less. Example: 0.9731 -> "97.3 %" """
    shown = f"{100 * value:.1f}"
    return "over 99.9 %" if shown == "100.0" and value < 1 else f"{shown} %"


def _figure(confidence: float | None) -> str | None:
    return None if confidence is None else f"{confidence:.6g}"


def type_numbers(types: Iterable[str], known: Sequence[str]) -> dict[str, int]:
    """Type -> number of its colour: those that are known keep theirs, the others follow by name."""
    others = sorted(set(types) - set(known))
    return {name: number for number, name in enumerate((*known, *others))}
