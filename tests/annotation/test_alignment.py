import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from constrained_ner.annotation.alignment import Alignment, align, minimum_similarity
from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Span
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.schema import DDI

MARKUP = Markup(DDI)


def align_answer(answer: str, text: str) -> Alignment:
    parsed = MARKUP.parse(answer)
    return align(parsed.plain, parsed.mentions, text)


def found(answer: str, text: str) -> list[tuple[int, str, str]]:
    return [(m.start, m.text, m.provenance) for m in align_answer(answer, text).mentions]


@pytest.mark.parametrize(
    ("answer", "text", "expected"),
    [
        ("on <drug>aspirin</drug>.", "on aspirin.", (3, "aspirin", "exact")),
        ("on <drug> aspirin </drug>.", "on aspirin.", (3, "aspirin", "exact")),
        ("on <drug>Aspirin</drug>.", "on aspirin.", (3, "aspirin", "normalised")),
        ("25 <drug>μg</drug>", "25 µg", (3, "µg", "normalised")),  # Greek mu for the micro sign
        ("<group>beta blockers</group>", "beta\n blockers", (0, "beta\n blockers", "normalised")),
        ("<group>beta blockers</group>", "betablockers", (0, "betablockers", "normalised")),
        ("<group>beta blockers</group>", "beta-blockers", (0, "beta-blockers", "fuzzy")),
        ("on <drug>asprin</drug>.", "on aspirin.", (3, "aspirin", "fuzzy")),
        ("<drug>amoxicillin</drug> was", "amoxicilline was", (0, "amoxicilline", "fuzzy")),
        ("<drug>aspirin</drug>", "Give aspirin, please.", (5, "aspirin", "exact")),
        ("Sure: aspirin is <drug>aspirin</drug> now", "aspirin now", (0, "aspirin", "exact")),
        ("<drug>(R)-warfarin</drug>", "the (R)-warfarin.", (4, "(R)-warfarin", "exact")),
        ("<drug>codeine</drug>", "cafe\u0301 💊 codeine", (8, "codeine", "exact")),
        ("<drug>ironing</drug>", "ironing", (0, "ironing", "exact")),
        ("<drug>iron</drug>ing", "ironing", (0, "iron", "exact")),  # what the answer says, since it copied
        ("Maße <drug>iron</drug>", "MASSE ﬁ iron", (8, "iron", "exact")),  # folds to several characters
    ],
)
def test_where_a_name_lands(answer: str, text: str, expected: tuple[int, str, str]) -> None:
    assert found(answer, text) == [expected]
    assert not align_answer(answer, text).unaligned


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("<brand>Lasix</brand> was given", "Patient was given"),
        ("<brand>Lasix</brand>", "Patie"),
        ("the <drug>ACE</drug>", "the place"),
        ("the <drug>iron</drug> board", "the ironing board"),
        ("some <drug>zinc</drug> now", "some zinn now"),
        ("<drug>prednisone</drug>", "Results"),
        ("<drug>aspirin</drug>", ""),
        ("<drug>aspirin</drug>", " \n "),
    ],
)
def test_an_invented_name_stays_unaligned(answer: str, text: str) -> None:
    alignment = align_answer(answer, text)
    assert not alignment.mentions
    assert [u.text for u in alignment.unaligned] == [m.group(1) for m in re.finditer(">(.*)</", answer)]


def test_reasons_name_what_stands_in_the_place() -> None:
    assert align_answer("<brand>Lasix</brand> was", "Patient was").unaligned[0].reason == (
        "nothing in its place is similar enough: 'Patient' has 0.29, needed 0.84"
    )
    assert (
        align_answer("on <drug>iron</drug>.", "on.").unaligned[0].reason
        == "the text has nothing in its place"
    )
    outside = align("abc", [("drug", Span(7, 9))], "abc").unaligned
    assert outside[0].reason == "it is only white space, or outside the answer"
    overlap = align("abc", [("drug", Span(0, 2)), ("drug", Span(1, 3))], "abc").unaligned
    assert overlap[0].reason == "it overlaps the mention before it"


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("name", ["aspirin", "Aspirin", "asprin"])
def test_a_repeated_name_lands_on_its_own_occurrence(which: int, name: str) -> None:
    text = "Give aspirin, then more aspirin, and at last aspirin again."
    starts = [m.start() for m in re.finditer("aspirin", text)]
    start = starts[which]
    answer = f"{text[:start]}<drug>{name}</drug>{text[start + 7 :]}"
    assert [start for start, _, _ in found(answer, text)] == [starts[which]]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_repeated_name_with_every_occurrence_miscopied(which: int) -> None:
    names = ["asprin"] * 3
    names[which] = "<drug>asprin</drug>"
    assert found(" ".join(names), "aspirin aspirin aspirin") == [(8 * which, "aspirin", "fuzzy")]


def test_names_alone_are_found_in_order() -> None:
    answer = "<drug>aspirin</drug>, <drug>warfarin</drug>, <drug>aspirin</drug>"
    text = "The aspirin was stopped, warfarin was not, and aspirin was given again."
    assert [start for start, _, _ in found(answer, text)] == [4, 25, 47]


def test_a_looping_answer_gives_no_more_names_than_the_text_has() -> None:
    alignment = align_answer("<drug>aspirin</drug> and " * 40, "aspirin and aspirin")
    assert [m.start for m in alignment.mentions] == [0, 12]
    assert len(alignment.unaligned) == 38


def test_a_miscopied_character_shifts_nothing_after_it() -> None:
    text = "Naïve users of aspirin, iron and warfarin."
    answer = "Naiive usrs of <drug>aspirin</drug>, <drug>iron</drug> and <drug>warfarin</drug>."
    assert [m.text for m in align_answer(answer, text).mentions] == ["aspirin", "iron", "warfarin"]


def test_fuzzy_keeps_its_score_and_the_others_have_none() -> None:
    [fuzzy, exact] = align_answer("<drug>asprin</drug> <drug>iron</drug>", "aspirin iron").mentions
    assert fuzzy.score == pytest.approx(6 / 7)
    assert exact.score is None


def test_shorter_names_must_be_more_similar() -> None:
    needed = [minimum_similarity(n) for n in range(200)]
    assert needed == sorted(needed, reverse=True)

    def edits(n: int) -> int:
        return next(k for k in range(n) if 1 - (k + 1) / n < minimum_similarity(n))

    assert [edits(n) for n in (1, 5, 6, 7, 9, 10, 20)] == [0, 0, 0, 1, 1, 2, 5]


# Any pair of strings

texts = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="ab -,.\n\u0301ßé💊", max_size=40),
    st.lists(st.sampled_from(["aspirin", "Aspirin", "asprin", "iron", "and", ",", "\n", "-", "µg"])).map(
        " ".join
    ),
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, list[tuple[str, Span]]]:
    text = draw(texts)
    cuts = draw(st.lists(st.integers(0, len(text) + 3), unique=True, max_size=12).map(sorted))
    return text, [("drug", Span(a, b)) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]


@given(answers(), texts)
def test_any_answer_gives_ordered_disjoint_spans_inside_the_text(
    answer: tuple[str, list[tuple[str, Span]]], text: str
) -> None:
    plain, mentions = answer
    alignment = align(plain, mentions, text)
    assert len(alignment.mentions) + len(alignment.unaligned) == len(mentions)
    done = 0
    for m in alignment.mentions:
        assert done <= m.start < m.end <= len(text)
        assert m.text == text[m.start : m.end] == m.text.strip()
        assert m.provenance in {"exact", "normalised", "fuzzy"}
        assert (m.score is not None) == (m.provenance == "fuzzy")
        done = m.end


@given(answers())
def test_a_faithful_answer_gives_its_own_spans(answer: tuple[str, list[tuple[str, Span]]]) -> None:
    text, mentions = answer
    expected = []
    for _, span in mentions:
        name = text[span.start : span.end]
        if name.strip():
            start = span.start + len(name) - len(name.lstrip())
            expected.append((Span(start, start + len(name.strip())), "exact"))
    assert [(m.spans[0], m.provenance) for m in align(text, mentions, text).mentions] == expected


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=6), texts, texts)
def test_overlapping_and_unordered_mentions_raise_nothing(
    places: list[tuple[int, int]], answer: str, text: str
) -> None:
    mentions = [("drug", Span(start, start + length)) for start, length in places]
    alignment = align(answer, mentions, text)
    assert len(alignment.mentions) + len(alignment.unaligned) == len(mentions)


def test_gold_survives_miscopied_characters(shared: Path) -> None:
    """One character in fifty lost or added: at least 98 % of the names come back, at the right place."""
    draw = random.Random(0)
    n_gold = n_right = n_wrong = 0
    for document in read_ddi(shared / "data/ddi/devel.xml"):
        for sentence in document:
            gold, _ = MARKUP.expressible(sentence)
            answer, spans = "", []
            bounds = {m.start for m in gold} | {m.end for m in gold}
            position: dict[int, int] = {}
            for i, character in enumerate(sentence.text + "\n"):
                if i in bounds:
                    position[i] = len(answer)
                chance = draw.random()
                answer += (
                    "" if chance < 0.01 else character + draw.choice("abc") if chance < 0.02 else character
                )
            spans = [(m.type, Span(position[m.start], position[m.end])) for m in gold]
            aligned = align(answer, spans, sentence.text).mentions
            right = {m.spans for m in aligned} & {m.spans for m in gold}
            n_gold, n_right = n_gold + len(gold), n_right + len(right)
            n_wrong += len(aligned) - len(right)
    assert n_right >= 0.98 * n_gold
    assert n_wrong <= 0.001 * n_gold


def test_a_long_sentence_takes_milliseconds() -> None:
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklm", k=draw.randrange(2, 11))) for _ in range(400)]
    text = " ".join(draw.choices(words, k=160))
    answer = " ".join(word[1:] if draw.random() < 0.2 else word for word in text.split())
    mentions = [("drug", Span(m.start(), m.end())) for m in re.finditer(r"\w+", answer)][::8]
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        align(answer, mentions, text)
        best = min(best, time.perf_counter() - start)
    assert best < 0.05  # 2 ms on an idle machine


@pytest.mark.parametrize("answer", ["miscopied", "names", "unrelated", "looping"])
def test_a_long_text_takes_no_minutes(answer: str) -> None:
    """30,000 characters: an answer without one word of the text used to take minutes."""
    draw = random.Random(2)
    words = ["".join(draw.choices("abcdefghijklm", k=draw.randrange(2, 11))) for _ in range(2000)]
    text = " ".join(draw.choices(words, k=4500))
    copies = {
        "miscopied": " ".join(word[1:] if draw.random() < 0.2 else word for word in text.split()),
        "names": ", ".join(text.split()[::8]),
        "unrelated": text.translate(str.maketrans("abcdefghijklm", "nopqrstuvwxyz")),
        "looping": "aspirin and " * 2500,
    }
    mentions = [("drug", Span(m.start(), m.end())) for m in re.finditer(r"\w+", copies[answer])][::8]
    start = time.perf_counter()
    alignment = align(copies[answer], mentions, text)
    assert time.perf_counter() - start < 20  # a second or less on an idle machine
    assert len(alignment.mentions) + len(alignment.unaligned) == len(mentions)
    if answer == "names":
        assert [m.text for m in alignment.mentions] == text.split()[::64]
    assert bool(alignment.mentions) == (answer in ("miscopied", "names"))
