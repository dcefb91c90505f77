"""A sentence in a terminal: what is shown, and that no text is obeyed."""

from __future__ import annotations

import io
import re
import unicodedata
from random import Random

import pytest
from hard_texts import random_mentions, texts
from hypothesis import given
from hypothesis import strategies as st
from rich.color import ColorSystem

from constrained_ner.data import Mention, Span
from constrained_ner.rendering.palette import colours_of
from constrained_ner.rendering.terminal import colour_depth, coloured, visible

TYPES = ("drug", "group", "brand", "drug_n")
COLOURS = colours_of(TYPES)
STYLE = re.compile(r"\x1b\[[\d;]*m")
DIRECTIONS = [chr(c) for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]


def mention(text: str, *names: str, type: str = "drug") -> Mention:
    spans = tuple(Span(text.index(name), text.index(name) + len(name)) for name in names)
    return Mention(spans, type, " ".join(names))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return monkeypatch


def test_names_stand_between_brackets_with_their_type_on_its_colour() -> None:
    text = "Effect of aspirin on beta-blockers."
    mentions = [mention(text, "beta-blockers", type="group"), mention(text, "aspirin")]
    plain = "Effect of [aspirin|drug] on [beta-blockers|group]."
    assert coloured(text, mentions, COLOURS) == plain
    in_colours = coloured(text, mentions, COLOURS, ColorSystem.TRUECOLOR)
    assert STYLE.sub("", in_colours) == plain
    assert "\x1b[38;2;0;0;0;48;2;119;170;221maspirin\x1b[0m" in in_colours
    assert "\x1b[2m|drug]\x1b[0m" in in_colours


def test_parts_of_a_discontinuous_mention_point_at_one_another() -> None:
    text = "cough and cold drugs"
    assert (
        coloured(text, [mention(text, "cough", "drugs")], COLOURS) == "[cough|drug…] and cold […drugs|drug]"
    )


def test_overlapping_mentions_are_both_shown() -> None:
    text = "beta-blocker propranolol"
    mentions = [mention(text, "propranolol"), mention(text, text, type="group")]
    assert coloured(text, mentions, COLOURS) == "[beta-blocker [propranolol|drug]|group]"
    crossing = [mention(text, "beta-blocker prop", type="group"), mention(text, "blocker propranolol")]
    assert coloured(text, crossing, COLOURS) == "[beta-[blocker prop|group]ranolol|drug]"


def test_a_type_without_a_colour_still_has_its_brackets() -> None:
    text = "aspirin"
    shown = coloured(text, [mention(text, text, type="new")], {}, ColorSystem.EIGHT_BIT)
    assert STYLE.sub("", shown) == "[aspirin|new]"
    assert "48;" not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]8;;http://x\x07link", r"\x1b]8;;http://x\x07link"),
        ("\x9b31m, nul \x00, delete \x7f, back \x08", r"\x9b31m, nul \x00, delete \x7f, back \x08"),
        ("over\rwritten", r"over\rwritten"),
        ("two\nlines\r\nand\ta tab", "two lines and a tab"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066isolate\u2069", r"\u2066isolate\u2069"),
        ("\u2028\u2029\x85\x0b\x0c", r"\u2028\u2029\x85\x0b\x0c"),
        ("mida\u00adzolam, zero\u200bwidth, \ufeffmark", r"mida\xadzolam, zero\u200bwidth, \ufeffmark"),
        ("lone \ud800", r"lone \ud800"),
        ("[bold]markup[/bold] :smile: <b>&amp;</b>", "[bold]markup[/bold] :smile: <b>&amp;</b>"),
        (
            "50\u00a0µg β e\u0301 薬 אספירין \U0001f469\u200d\U0001f52c",
            "50\u00a0µg β e\u0301 薬 אספירין \U0001f469\u200d\U0001f52c",
        ),
    ],
)
def test_text_is_shown_and_never_obeyed(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert coloured(text, [], COLOURS, ColorSystem.EIGHT_BIT) == shown


def test_a_type_is_not_obeyed_either() -> None:
    text = "aspirin"
    assert coloured(text, [mention(text, text, type="\x1b[2J")], COLOURS) == r"[aspirin|\x1b[2J]"


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_direction_override_is_visible(direction: str) -> None:
    assert visible(direction) == f"\\u{ord(direction):04x}"


@given(
    st.one_of(texts, st.text(st.characters())),
    st.randoms(use_true_random=False),
    st.sampled_from([None, *ColorSystem]),
)
def test_only_our_own_styles_reach_the_terminal(text: str, chance: Random, depth: ColorSystem | None) -> None:
    mentions = random_mentions(chance, text, TYPES, "char")
    shown = coloured(text, mentions, COLOURS, depth)
    without_styles = STYLE.sub("", shown)
    assert without_styles == coloured(text, mentions, COLOURS)
    unseen = [c for c in without_styles if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert set(unseen) <= {"\u200c", "\u200d"}
    if depth is None:
        assert shown == without_styles


@pytest.mark.parametrize(
    ("term", "colorterm", "depth"),
    [
        ("xterm-256color", "", ColorSystem.EIGHT_BIT),
        ("xterm", "", ColorSystem.EIGHT_BIT),
        ("xterm-256color", "truecolor", ColorSystem.TRUECOLOR),
    ],
)
def test_a_terminal_shows_colours(
    environment: pytest.MonkeyPatch, term: str, colorterm: str, depth: ColorSystem
) -> None:
    environment.setenv("TERM", term)
    environment.setenv("COLORTERM", colorterm)
    assert colour_depth(Terminal()) == depth


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colours_where_they_are_not_wanted(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(name, value)
    assert colour_depth(Terminal()) is None


def test_a_file_gets_no_colours(environment: pytest.MonkeyPatch) -> None:
    assert colour_depth(io.StringIO()) is None
