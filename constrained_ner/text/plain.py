"""Which characters of a text are shown in another way, so that they look as in the text that models know.

    blanks              no-break, thin and other spaces, tabs and line breaks are plain blanks
    hyphens             U+2010 to U+2015 and the minus sign are "-"
    invisible           soft hyphens, zero-width characters, direction marks and controls are not shown
    composed            "e" + U+0301 is one; ligatures, full-width letters and unit signs are spelt out
    marks after a name  a trade mark, a dagger, "[1]", a raised number that refers to a note are not shown
    raised and lowered  those that belong to a name or number are plain: "Ca2+", "H2O", "14C", "10-6", "m2"

Each step takes a text and yields its changes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

Edit = tuple[int, int, str]
"""A change: from where to where, and what is shown there instead."""

_BREAKS = "\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029"
_HYPHENATED = re.compile(rf"\u00ad[^\S{_BREAKS}]*[{_BREAKS}]\s*")
_BLANKS = re.compile(r"\s+")
_OTHER_BLANK = re.compile(r"[^\S ]")
_BREAK = re.compile(f"[{_BREAKS}]")

_UNUSUAL = re.compile(r"[ -~]?[^ -~]+")  # what is not printable ASCII, with the character that it may modify
_LONGEST_CLUSTER = 32  # with more marks a character is shown in pieces: to compose takes quadratic time
_JOINERS = "\u200c\u200d"
_NEVER_SHOWN = re.compile(
    "[\u00ad\u034f\u061c\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_SPELT = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-") | {0x2044: "/"}

_RAISED = (
    r"\u00aa\u00b2\u00b3\u00b9\u00ba\u02b0-\u02b8\u02e0-\u02e4\u1d2c-\u1d61\u1d78\u1d9b-\u1dbf\u2070-\u207f"
)
_CIRCLED = r"\u2460-\u2473\u24b6-\u24ea"
_TRADE = r"\u00a9\u00ae\u2117\u2120\u2122"
_RAISED_RUN = re.compile(f"[{_RAISED}{_CIRCLED}]+(?:[,\u2013-][{_RAISED}{_CIRCLED}]+)*")
_MARKS = re.compile(
    rf"(?<=[\w)\]'\"\u2019\u201d%])(?:(?P<blanks> *)(?:[{_TRADE}\u24c7\u24e1]|\u1d40\u1d39|[\u2020\u2021])+"
    r"|[\u00a7\u00b6\u2016](?!\d))"
)
_REFERENCE = re.compile(r"(?<=[^\W\d_]{3})\[\d{1,3}(?:(?:-|[,;] ?)\d{1,3})*\](?![\w-])")
_CHARGE_OR_POWER = re.compile(r"\d*[+-]|[+-]\d+")
_UNITS = frozenset(("mm", "cm", "dm", "km", "nm", "\u03bcm", "in", "ft"))
_CODES = "ala arg asn asp cys gln glu gly his ile leu lys met phe pro ser thr trp tyr val sar nle orn aib"
_AMINO_ACIDS = frozenset(_CODES.split())
_AFTER_A_NAME = ".!?)]}\"'\u2019\u201d%*\u00a9\u00ae\u2117\u2120\u2122\u2020\u2021"
_ENDS_NAMES = "ABCDEGK"  # vitamin C, penicillin G
_LAST_LETTERS = re.compile(r"[^\W\d_]{1,4}$")
_LAST_NAME = re.compile(r"[\w-]{1,40}$")
_LOOK_BACK = 40  # characters that tell what a raised character belongs to


def blanks(text: str) -> Iterator[Edit]:
    """Plain blanks for all others; one for a line break or tab and what is around it. A word is made whole.

    Example: "mida\u00ad\\nzolam\\r\\n and" -> "midazolam and"
    """
    if _OTHER_BLANK.search(text) is None:
        return
    hyphenated = {m.start(): m.end() for m in _HYPHENATED.finditer(text)}
    for found in _BLANKS.finditer(text):
        start, end = found.span()
        if start - 1 in hyphenated:
            yield start - 1, hyphenated[start - 1], ""
        elif _BREAK.search(found[0]):
            if found[0] != " ":
                yield start, end, " "
        else:
            yield from ((n, n + 1, " ") for n in range(start, end) if text[n] != " ")


def characters(text: str) -> Iterator[Edit]:
    """Each character that is not plain, with the marks that combine with it, as it is shown."""
    if text.isascii() and text.isprintable():
        return
    for run in _UNUSUAL.finditer(text):
        start = run.start()
        cluster = text[start]
        for at in range(start + 1, run.end()):
            if len(cluster) < _LONGEST_CLUSTER and _combines(cluster, text[at]):
                cluster += text[at]
                continue
            yield from _edit(text, start, cluster)
            start, cluster = at, text[at]
        yield from _edit(text, start, cluster)


def _edit(text: str, start: int, cluster: str) -> Iterator[Edit]:
    if cluster in _JOINERS:
        around = text[:start][-1:], text[start + 1 : start + 2]
        shown = cluster if all(map(_joins, around)) else ""
    else:
        shown = _shown(cluster) if len(cluster) < 9 else unicodedata.normalize("NFC", cluster)
    if shown != cluster:
        yield start, start + len(cluster), shown


def _joins(neighbour: str) -> bool:
    """Whether a joiner beside it is spelling: in scripts that join their letters, and in emoji."""
    return bool(neighbour) and unicodedata.category(neighbour) in {"Lo", "Lm", "Mn", "Mc", "So", "Sk"}


def _combines(cluster: str, character: str) -> bool:
    if character.isascii():
        return False
    if unicodedata.combining(character):
        return True
    if len(cluster) > 2:
        return False
    apart = unicodedata.normalize("NFC", cluster) + unicodedata.normalize("NFC", character)
    return unicodedata.normalize("NFC", cluster + character) != apart


@lru_cache(maxsize=8192)
def _shown(cluster: str) -> str:
    """How a character is shown with the marks that combine with it.

    Examples: "\ufb01" -> "fi"; "e\u0301" -> "\u00e9"; "\u00b4" stays, because its parts begin with a blank
    """
    first = cluster[0]
    if unicodedata.category(first) == "Cc":
        if not "\x80" <= first <= "\x9f":
            return cluster[1:]
        # Web pages have code page 1252 where they declare ISO 8859-1; browsers read it so, too.
        return bytes([ord(first)]).decode("cp1252", errors="ignore") + cluster[1:]
    if _NEVER_SHOWN.match(first):
        return cluster[1:]
    composed = unicodedata.normalize("NFC", cluster)
    if _KEPT_FOR_LATER.match(first):
        return composed
    spelt = unicodedata.normalize("NFKC", cluster).translate(_SPELT)
    return composed if _BLANKS.search(spelt) else spelt


_KEPT_FOR_LATER = re.compile(f"[{_RAISED}{_CIRCLED}{_TRADE}]")


def marks(text: str) -> Iterator[Edit]:
    """Trade marks and references after a name are not shown, or are the blank that parts two words."""
    if text.isascii() and "[" not in text:
        return
    found = [*_MARKS.finditer(text), *_REFERENCE.finditer(text)]
    for mark in sorted(found, key=lambda m: m.start()):
        yield *mark.span(), _instead(text, *mark.span())


def _instead(text: str, start: int, end: int) -> str:
    """What is shown instead of a mark: nothing, or the blank that parts the words around it."""
    after = text[end : end + 1]
    had_blank = text[start] == " "
    return " " if after and (after.isalnum() or (had_blank and after in "([{\"'-/+")) else ""


def raised(text: str) -> Iterator[Edit]:
    """Raised letters and digits: plain in a name or a number, not shown where they refer to a note."""
    if text.isascii():
        return
    for run in _RAISED_RUN.finditer(text):
        start, end = run.span()
        shown = unicodedata.normalize("NFKC", run[0]).translate(_SPELT)
        if _refers_to_note(text[max(0, start - _LOOK_BACK) : start], shown, text[end : end + 1]):
            yield start, end, _instead(text, start, end)
        else:
            for at, character in enumerate(run[0], start):
                shown = unicodedata.normalize("NFKC", character).translate(_SPELT)
                if shown != character:
                    yield at, at + 1, shown


def _refers_to_note(before: str, shown: str, after: str) -> bool:
    """Whether a raised run, which stands between two texts, belongs to no name and no number.

    Examples: "aspirin" 1 -> True; "Ca" 2+ -> False; "IL-2" 3 -> True; "10" 6 -> False; "" 14 "C" -> False;
    "R" 2 -> False; "vitamin C" 2 -> True
    """
    if not before or _CHARGE_OR_POWER.fullmatch(shown):
        return False
    letters = _LAST_LETTERS.search(before)
    if letters is None:
        if before[-1].isalnum():  # a digit: of a name, or of a number
            name = _LAST_NAME.search(before)
            return name is not None and any(map(str.isalpha, name[0]))
        return before[-1] in _AFTER_A_NAME or (before[-1] in ",;:" and not after.isalpha())
    word = letters[0]
    if len(word) == 1:
        return word in _ENDS_NAMES and before[-2:-1] == " "
    power_of_unit = word in _UNITS and shown in ("2", "3")
    return not power_of_unit and word.lower() not in _AMINO_ACIDS


PLAIN_STEPS = (blanks, characters, raised, marks)
