"""What the model is shown of a text, and the way back to the text."""

from __future__ import annotations

import time
import unicodedata
from random import Random

import pytest
from hard_texts import boundaries, chances, random_mentions, texts
from hypothesis import example, given
from hypothesis import strategies as st

from constrained_ner.constraint.edges import Boundary
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.text.view import View, shown_sentence, view_of

ODD = [
    *("\u00a0", "\u2009", "\u202f", "\u3000", "\t", "\r\n", "\x0b", "\u2028", "\x85", " \n "),
    *(
        "\u00ad",
        "\u00ad\n",
        "\u200b",
        "\u200c",
        "\u200d",
        "\u2060",
        "\ufeff",
        "\u200f",
        "\u202e",
        "\u2069",
        "\ufe0f",
    ),
    *("\u2010", "\u2011", "\u2013", "\u2014", "\u2212", "\ufe58", "\uff0d"),
    *(
        "\u2122",
        "\u00ae",
        " \u00ae",
        "\u00a9",
        "\u2120",
        "\u2020",
        "\u2021",
        "[1]",
        "[2,3]",
        "\u1d40\u1d39",
        "\u24c7",
    ),
    *(
        "\u00b9",
        "\u00b2",
        "\u00b2\u207a",
        "\u207b\u00b9",
        "\u00b9,\u00b2",
        "\u00aa",
        "\u1d43",
        "\u2460",
        "\u2082",
        "\u2074",
    ),
    *(
        "\ufb01",
        "\uff21",
        "\u2026",
        "\u00bd",
        "\u2163",
        "\u338e",
        "\u00b4",
        "\u1e9e",
        "\u0130",
        "\u017f",
        "\ufdfa",
    ),
    *(
        "\u0301",
        "\u0308\u0301",
        "\u0316",
        "\u09c7\u09be",
        "\u1112\u1161\u11ab",
        "\u1161",
        "\u11ab",
        "\u20e3",
        "\u3099",
    ),
    *(
        "\u03b1",
        "\u00b5",
        "\u2126",
        "\u0645\u06cc\u200c\u062e",
        "\U0001f469\u200d\U0001f52c",
        "\x00",
        "\x1b",
        "\x96",
        "\x99",
    ),
]
WORDS = [
    "aspirin",
    "Coumadin",
    "IL-2",
    "Ca",
    "m",
    "10",
    "NO",
    "a",
    "ACE",
    "MIDAZOLAM",
    "RAISES",
    " ",
    " ",
    "-",
    ".",
    "(",
    ")",
]
odd_texts = st.lists(st.sampled_from(ODD + WORDS), max_size=12).map("".join)
any_texts = st.one_of(odd_texts, texts)
usual_texts = st.lists(
    st.sampled_from([*WORDS, "É", "é", "β", "阿司", "  ", "°", "<drug>", "[a]", "'"]), max_size=12
).map(lambda parts: "Taken: " + "".join(parts))


# ---- the map


@given(any_texts)
@example("e\u00ad\u0301")
@example("aspirin\u00ae\u0301x")
def test_pieces_are_in_order_and_never_empty(text: str) -> None:
    view = view_of(text)
    assert len(view.text) == len(view.starts) == len(view.ends)
    done = (0, 0)
    for start, end in zip(view.starts, view.ends, strict=True):
        assert 0 <= start < end <= len(text)
        assert start >= done[1] or (start, end) == done
        done = start, end


@given(any_texts)
def test_the_view_of_a_view_is_itself(text: str) -> None:
    shown = view_of(text).text
    assert view_of(shown).text == shown


@given(any_texts)
def test_what_is_shown_is_plain(text: str) -> None:
    shown = view_of(text).text
    assert unicodedata.is_normalized("NFC", shown)
    assert not [c for c in shown if c.isspace() and c != " "]
    assert not [c for c in shown if unicodedata.category(c) == "Cc"]
    assert not set(shown) & set("\u00ad\u200b\ufeff\u2060\u202e\u2010\u2011\u2013\u2014\u2212")


@given(usual_texts)
def test_text_that_has_nothing_of_the_kind_is_its_own_view(text: str) -> None:
    view = view_of(text)
    assert view.text is text
    sentence = Sentence("s", text, (Mention((Span(0, 5),), "drug", "Taken"),))
    assert view.shown_sentence(sentence) is sentence
    assert view.original_sentence(sentence) == sentence


@given(any_texts)
def test_as_it_is(text: str) -> None:
    assert view_of(text, "as-is").text == text


@given(any_texts, chances, boundaries)
def test_mentions_come_back_exact_disjoint_and_in_order(
    text: str, chance: Random, boundary: Boundary
) -> None:
    view = view_of(text)
    shown = Sentence("s", view.text, tuple(random_mentions(chance, view.text, ("drug",), boundary)))
    found = view.original_sentence(shown)
    assert (found.id, found.text) == ("s", text)
    done = 0
    for mention in found.mentions:
        assert done <= mention.start < mention.end <= len(text)
        assert mention.text == text[mention.start : mention.end]
        assert not mention.text[0].isspace()
        assert not mention.text[-1].isspace()
        assert mention.text[0] not in "\u00ad\u200b\ufeff"
        assert mention.text[-1] not in "\u00ad\u200b\ufeff\u2060\u202e"
        done = mention.end
    if boundary == "word":
        again = view.shown_sentence(found).mentions
        parted = {(start, end) for start, end in zip(view.starts, view.ends, strict=True)}
        if len(parted) == len(view.text):  # no character is shown as several
            assert again == shown.mentions


@given(any_texts, chances)
def test_mentions_of_the_original_are_shown_at_their_place_or_not_at_all(text: str, chance: Random) -> None:
    mentions = tuple(random_mentions(chance, text, ("drug",), "char"))
    shown = shown_sentence(Sentence("s", text, mentions))
    assert len(shown.mentions) <= len(mentions)
    for mention in shown.mentions:
        assert mention.text == shown.text[mention.start : mention.end]
        assert mention.text == mention.text.strip()


def test_parts_of_one_character_belong_to_the_first_mention() -> None:
    view = view_of("a\ufb01x")
    assert view.text == "afix"
    parts = [Mention((Span(n, n + 1),), "drug", view.text[n]) for n in range(4)]
    found = view.original_sentence(Sentence("s", view.text, tuple(parts))).mentions
    assert [(m.start, m.end, m.text) for m in found] == [(0, 1, "a"), (1, 2, "\ufb01"), (2, 3, "x")]


def test_a_discontinuous_mention_keeps_its_parts() -> None:
    text = "vitamin\u00a0B\u2081 and B\u2081\u2082"
    mention = Mention((Span(0, 7), Span(15, 18)), "drug", "vitamin B\u2081\u2082")
    view = view_of(text)
    shown = view.shown_sentence(Sentence("s", text, (mention,)))
    assert shown.mentions[0].text == "vitamin B12"
    assert view.original_sentence(shown).mentions == (mention,)


def test_a_mention_of_which_nothing_is_shown_is_left_out() -> None:
    text = "Advil\u2122 \u200b"
    mentions = (Mention((Span(5, 6),), "brand", "\u2122"), Mention((Span(7, 8),), "brand", "\u200b"))
    assert shown_sentence(Sentence("s", text, mentions)) == Sentence("s", "Advil ")


def test_edits_compose() -> None:
    view = View.of("abcdef").edited([(1, 3, "X"), (5, 6, "")]).edited([(0, 2, "yy")])
    assert view.text == "yyde"
    assert list(zip(view.starts, view.ends, strict=True)) == [(0, 3), (0, 3), (3, 4), (4, 5)]


@pytest.mark.parametrize("text", ["", "\u200b\ufeff", "\x00", "\u00ad"])
def test_nothing_may_be_left(text: str) -> None:
    view = view_of(text)
    assert view.text == ""
    assert view.original_sentence(Sentence("s", "")) == Sentence("s", text)


# ---- what is shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # blanks
        ("midazolam\u00a0and\u2009iron\u202f.", "midazolam and iron ."),
        ("ibuprofen\tand", "ibuprofen and"),
        ("iron\r\nand\n   zinc", "iron and zinc"),
        ("iron  and", "iron  and"),
        ("one \u00a0two", "one  two"),
        # hyphens
        (
            "beta\u2010blockers, beta\u2011blockers 2\u20133 \u2212 \u2014",
            "beta-blockers, beta-blockers 2-3 - -",
        ),
        # invisible
        ("mida\u00adzolam", "midazolam"),
        ("mida\u00ad\n  zolam", "midazolam"),
        ("mida\u00ad zolam", "mida zolam"),
        ("\ufeffiron\u200b and\u2060 \u202ezinc\u202c", "iron and zinc"),
        ("mida\x00zolam \x1b[0m", "midazolam [0m"),
        ("5\x9610 mg Advil\x99", "5-10 mg Advil"),  # code page 1252
        # letters
        ("e\u0301te\u0301", "\u00e9t\u00e9"),
        ("e\u00ad\u0301", "\u00e9"),
        ("1\u0301", "1\u0301"),
        ("\ufb02uoxetine \uff23\uff10 5 \u338e \u2163 \u00bd", "fluoxetine C0 5 mg IV 1/2"),
        ("5\u00b4 \u00a8", "5\u00b4 \u00a8"),
        ("\u1112\u1161\u11ab", "\ud55c"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),  # a joiner is spelling here
        ("iron\u200d and\u200c", "iron and"),
        ("\U0001f469\u200d\U0001f52c \u2764\ufe0f", "\U0001f469\u200d\U0001f52c \u2764"),
        ("5 \u00b5g TNF-\u03b1", "5 \u03bcg TNF-\u03b1"),
        # marks after a name
        ("Advil\u2122 and Zantac\u00ae, Norvir \u00ae.", "Advil and Zantac, Norvir."),
        ("Coumadin \u00ae were", "Coumadin were"),
        ("Advil\u00aePM", "Advil PM"),
        ("Advil \u00ae(ibuprofen)", "Advil (ibuprofen)"),
        ("Advil\u00ae(ibuprofen)", "Advil(ibuprofen)"),
        ("Advil\u1d40\u1d39 \u00ae", "Advil"),
        ("iron\u2020 and zinc \u2021", "iron and zinc"),
        ("\u2020 P < 0.05", "\u2020 P < 0.05"),
        ("\u00a9 2004", "\u00a9 2004"),
        ("aspirin[1], iron[2,3] and", "aspirin, iron and"),
        ("see [1] and benzo[1]pyrene, [1,4]benzodiazepin", "see [1] and benzo[1]pyrene, [1,4]benzodiazepin"),
        # raised: a note
        ("aspirin\u00b9 and iron\u00b2,\u00b3.", "aspirin and iron."),
        ("Advil\u00ae\u00b9, IL-2\u00b3, B\u2081\u2082\u2074", "Advil, IL-2, B12"),
        ("iron.\u00b9 Zinc,\u00b2 (tin)\u00b3", "iron. Zinc, (tin)"),
        ("iron\u00b9zinc", "iron zinc"),
        ("vitamin C\u00b9 and penicillin G\u00b2", "vitamin C and penicillin G"),
        ("ironᵃ zincª tin①", "iron zinc tin"),
        # raised and lowered: a part of a name or a number
        ("Ca\u00b2\u207a Na\u207a SO\u2084\u00b2\u207b Fe\u00b3\u207a", "Ca2+ Na+ SO42- Fe3+"),
        ("10\u207b\u2076 min\u207b\u00b9 10\u2076", "10-6 min-1 106"),
        ("H\u2082O T\u2084 T\u2074 vitamin B\u2081\u2082", "H2O T4 T4 vitamin B12"),
        (
            "\u00b9\u2074C-urea [\u00b3H] \u2079\u2079\u1d50Tc \u00b9\u00b3C,\u00b9\u2075N",
            "14C-urea [3H] 99mTc 13C,15N",
        ),
        ("mg/m\u00b2 cm\u00b3 R\u00b2 \u03c7\u00b2", "mg/m2 cm3 R2 \u03c72"),
        ("[Leu\u2075]enkephalin \u0394\u2079-THC", "[Leu5]enkephalin \u03949-THC"),
        ("CD4\u207a 1\u02e2\u1d57", "CD4+ 1st"),
    ],
)
def test_plain_characters(text: str, shown: str) -> None:
    assert view_of(text).text == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "KETOCONAZOLE RAISES AUC OF HALCION. TAKE NO IRON.",
            "Ketoconazole raises AUC of Halcion. Take no iron.",
        ),
        ("GIVE NSAIDS WITH CYP3A4, 100 mg OF VITAMIN C", "Give NSAIDs with CYP3A4, 100 mg of vitamin C"),
        ("THE HMG-COA REDUCTASE INHIBITORS", "The HMG-CoA reductase inhibitors"),
        ("DRUG INTERACTIONS", "Drug interactions"),
        ("TAKE MIDA\u00adZOLAM\u00a0TABLETS", "Take midazolam tablets"),
        ("patients on coumadin, nsaids and hiv", "patients on Coumadin, NSAIDs and HIV"),
        ("give 5 mg by", "give 5 mg by"),
        # as they are
        ("ASPIRIN", "ASPIRIN"),
        ("coumadin", "coumadin"),
        ("RESULTS. ", "RESULTS. "),
        ("ACE, ARB AND NSAID", "ACE, ARB AND NSAID"),
        ("(SGOT), ALT (SGPT)", "(SGOT), ALT (SGPT)"),
        ("WARNING: aspirin and iron", "WARNING: aspirin and iron"),
        ("Take coumadin and iron", "Take coumadin and iron"),
        (
            "\u0414\u041e \u0410\u0421\u041f\u0418\u0420\u0418\u041d \u0416\u0415\u041b\u0415\u0417\u041e",
            None,
        ),
    ],
)
def test_case(text: str, shown: str | None) -> None:
    view = view_of(text)
    assert view.text == shown or (shown is None and view.text.casefold() == text.casefold())
    if "\u00ad" not in text:
        assert len(view.text) == len(text)


def test_no_end_of_marks_on_one_character_takes_linear_time() -> None:
    text = "a" + "\u0301\u0316" * 100_000
    began = time.process_time()
    shown = view_of(text).text
    assert time.process_time() - began < 20  # composed as a whole, they take minutes
    assert sorted(unicodedata.normalize("NFD", shown)) == sorted(text)
