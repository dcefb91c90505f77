"""The automaton over bytes: what it accepts, what it reads, and that it has no dead ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

import pytest
from hard_texts import HARD_TEXTS, boundaries, chances, random_mentions, random_text, texts
from hypothesis import example, given
from hypothesis import strategies as st

from constrained_ner.constraint.automaton import DEAD, Constraint, State, TaggedSpan, TagMachine
from constrained_ner.constraint.edges import CLOSE, OPEN, Boundary, edges
from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.errors import SentenceError
from constrained_ner.schema import DDI, EntityType, Schema

MACHINE = TagMachine(Markup(DDI))
SHORT = TagMachine(
    Markup(Schema(name="short", types=tuple(EntityType(name=name) for name in ("a", "ab", "a-b"))))
)
"""Types that are prefixes of one another and so short that texts spell their tags by chance."""


def spans(found: tuple[TaggedSpan, ...] | None) -> list[tuple[str, int, int]] | None:
    return None if found is None else [(m.type, m.span.start, m.span.end) for m in found]


def as_spans(mentions: list[Mention]) -> list[tuple[str, int, int]]:
    return [(m.type, m.start, m.end) for m in mentions]


def without_tags(answer: bytes, found: tuple[TaggedSpan, ...], markup: Markup) -> bytes:
    """The answer without the tags that were read."""
    parts, at = [], 0
    for mention in found:
        opening, closing = markup.open_tag(mention.type).encode(), markup.close_tag(mention.type).encode()
        inside = mention.opens_at_byte + len(opening)
        outside = mention.closes_at_byte - len(closing)
        assert answer[mention.opens_at_byte : inside] == opening
        assert answer[outside : mention.closes_at_byte] == closing
        parts += [answer[at : mention.opens_at_byte], answer[inside:outside]]
        at = mention.closes_at_byte
    return b"".join(parts) + answer[at:]


def random_answer(chance: Random, constraint: Constraint) -> bytes:
    """A random walk over legal bytes to the end. Fails on a dead end."""
    state, answer = constraint.start, bytearray()
    while True:
        following = constraint.next_bytes(state)
        if constraint.accepts(state) and (not following or chance.random() < 0.5):
            return bytes(answer)
        assert following, f"dead end after {bytes(answer)!r}"
        byte = chance.choice(list(following))
        answer.append(byte)
        state = following[byte]


@pytest.mark.parametrize(
    "answer",
    [
        "Beta-blockers, too ",
        "<drug>Beta</drug>-blockers, too ",
        "<drug>Beta</drug><group>-</group><drug_n>blockers, too</drug_n> ",
        "<group>Beta-blockers</group>, <brand>too</brand> ",
    ],
)
def test_accepts(answer: str) -> None:
    constraint = Constraint("Beta-blockers, too ", MACHINE)
    assert constraint.accepts(constraint.advance(constraint.start, answer.encode()))


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Beta-blockers, too",
        "Beta-blockers, too  ",
        " Beta-blockers, too ",
        "Bet<drug>a</drug>-blockers, too ",
        "<drug>Beta-blockers, too </drug>",
        "Beta-blockers,<drug> too</drug> ",
        "<drug></drug>Beta-blockers, too ",
        "<drug><group>Beta</group></drug>-blockers, too ",
        "<drug>Beta</group>-blockers, too ",
        "<drug>Beta-blockers, too ",
        "<medicine>Beta</medicine>-blockers, too ",
        "Beta-blockers, too </drug>",
        "beta-blockers, too ",
    ],
)
def test_rejects(answer: str) -> None:
    constraint = Constraint("Beta-blockers, too ", MACHINE)
    assert not constraint.accepts(constraint.advance(constraint.start, answer.encode()))
    assert constraint.read(answer.encode()) is None


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(SentenceError, match="character 1 is a lone surrogate"):
        Constraint("a\ud800", MACHINE)


def test_a_leading_space_is_allowed_and_counts_for_nothing() -> None:
    constraint = Constraint("iron", MACHINE, leading_space=True)
    for answer in (b"<drug>iron</drug>", b" <drug>iron</drug>"):
        assert spans(constraint.read(answer)) == [("drug", 0, 4)]
    assert constraint.read(b"  iron") is None
    assert Constraint("", MACHINE, leading_space=True).read(b" ") == ()


def test_a_literal_tag_in_the_sentence_is_text() -> None:
    constraint = Constraint("say <drug> twice", MACHINE)
    assert constraint.read(b"say <drug> twice") == ()
    assert spans(constraint.read(b"say <drug><drug></drug> twice")) == [("drug", 4, 10)]


@given(texts, boundaries, st.booleans(), chances)
def test_walks_have_no_dead_ends_and_write_the_sentence(
    text: str, boundary: Boundary, leading_space: bool, chance: Random
) -> None:
    for machine in (MACHINE, SHORT):
        constraint = Constraint(text, machine, boundary=boundary, leading_space=leading_space)
        answer = random_answer(chance, constraint)
        found = constraint.read(answer)
        assert found is not None
        copied = without_tags(answer, found, machine.markup)
        assert copied == constraint.data or (leading_space and copied == b" " + constraint.data)
        places = edges(text, boundary)
        done = 0
        for mention in found:
            assert done <= mention.span.start < mention.span.end <= len(text)
            assert places[mention.span.start] & OPEN
            assert places[mention.span.end] & CLOSE
            done = mention.span.end


@given(texts, boundaries, st.booleans(), chances)
@example("<drug>a</drug>b", "char", False, Random(0))
def test_what_is_written_is_read(text: str, boundary: Boundary, leading: bool, chance: Random) -> None:
    for machine in (MACHINE, SHORT):
        markup = machine.markup
        mentions = random_mentions(chance, text, markup.types, boundary)
        answer = markup.write(text, mentions)
        constraint = Constraint(text, machine, boundary=boundary, leading_space=leading)
        found = constraint.read((" " * leading + answer).encode())
        assert found is not None
        if any(tag in text for tag in machine.all_tags()):
            again = [Mention((m.span,), m.type, text[m.span.start : m.span.end]) for m in found]
            assert markup.write(text, again) == answer
        else:  # an answer has one reading: the only complete tags in it are the inserted ones
            assert spans(found) == as_spans(mentions)


@given(texts, boundaries, st.booleans(), chances)
def test_advance_and_next_bytes_agree_with_step(
    text: str, boundary: Boundary, leading: bool, chance: Random
) -> None:
    constraint = Constraint(text, MACHINE, boundary=boundary, leading_space=leading)
    mentions = random_mentions(chance, text, MACHINE.markup.types, boundary)
    answer = MACHINE.markup.write(text, mentions).encode()
    state = constraint.start
    for byte in answer:
        following = constraint.next_bytes(state)
        assert following == {b: after for b in range(256) if (after := constraint.step(state, b))}
        state = following[byte]
    for _ in range(20):  # pieces like tokens, from states on the walk, right and wrong
        start = chance.randint(0, len(answer))
        state = by_steps(constraint, constraint.start, answer[:start])
        piece = answer[start : start + chance.randint(1, 9)]
        if chance.random() < 0.3:
            piece = bytes(chance.choice([piece[:-1] + b"z", b" " + piece, piece + b"<", b"\xc3"]))
        assert constraint.advance(state, piece) == by_steps(constraint, state, piece)


def by_steps(constraint: Constraint, state: State, piece: bytes) -> State:
    for byte in piece:
        state = constraint.step(state, byte)
    return state


def all_answers(constraint: Constraint) -> Iterator[bytes]:
    """Every answer that the automaton accepts, found by following all bytes."""
    stack: list[tuple[bytes, State]] = [(b"", constraint.start)]
    while stack:
        answer, state = stack.pop()
        if constraint.accepts(state):
            yield answer
        following = constraint.next_bytes(state)
        assert following or constraint.accepts(state), f"dead end after {answer!r}"
        stack += [(answer + bytes([byte]), after) for byte, after in following.items()]


def all_mentions(
    text: str, types: tuple[str, ...], boundary: Boundary, done: int = 0
) -> Iterator[list[Mention]]:
    """Every way to mark a text, straight from the rules."""
    yield []
    places = edges(text, boundary)
    for start in range(done, len(text)):
        for end in range(start + 1, len(text) + 1):
            if places[start] & OPEN and places[end] & CLOSE:
                for entity_type in types:
                    mention = Mention((Span(start, end),), entity_type, text[start:end])
                    for others in all_mentions(text, types, boundary, end):
                        yield [mention, *others]


TINY = [
    "",
    " ",
    "x",
    "x ",
    " x",
    "x y",
    "xy",
    "é-",
    "<",
    "<a",
    "a>",
    "\u0301",
    "x\n",
    "<a>",
    "</a>",
    "<a>x",
    "x</a>",
]
TINY_WORDS = [*TINY, "<a>x</a>", "<a><a>x", "x y-z ", "<a-b>x <a>", "x</ab>y"]


@pytest.mark.parametrize("leading_space", [False, True])
@pytest.mark.parametrize(
    ("text", "boundary"),
    [*((text, "word") for text in TINY_WORDS), *((text, "char") for text in TINY if len(text) < 4)],
)
def test_the_legal_answers_are_exactly_the_written_ones(
    text: str, boundary: Boundary, leading_space: bool
) -> None:
    machine = (
        SHORT if len(text) < 6 else TagMachine(Markup(Schema(name="a", types=SHORT.markup.schema.types[:1])))
    )
    markup = machine.markup
    constraint = Constraint(text, machine, boundary=boundary, leading_space=leading_space)
    readings: dict[bytes, list[list[tuple[str, int, int]]]] = {}
    for mentions in all_mentions(text, markup.types, boundary):
        answer = markup.write(text, mentions).encode()
        for written in {answer, b" " + answer} if leading_space else {answer}:
            readings.setdefault(written, []).append(as_spans(mentions))
    accepted = list(all_answers(constraint))
    assert sorted(accepted) == sorted(readings)
    for answer, possible in readings.items():
        first = min(possible, key=lambda found: [place for _, *span in found for place in span])
        assert spans(constraint.read(answer)) == first
        if not any(tag in text for tag in machine.all_tags()):
            assert len(possible) == 1


def test_an_answer_that_reads_two_ways() -> None:
    """The only ambiguity: the sentence spells a whole tag. The mention that opens first wins."""
    machine = MACHINE
    wide = [Mention((Span(0, 7),), "drug", "<drug>x")]
    narrow = [Mention((Span(6, 7),), "drug", "x")]
    answer = machine.markup.write("<drug>x", wide)
    assert answer == machine.markup.write("<drug>x", narrow)
    assert spans(Constraint("<drug>x", machine).read(answer.encode())) == as_spans(wide)


def test_read_is_none_for_mutations_and_only_for_illegal_ones() -> None:
    chance = Random(1)
    for _ in range(1000):
        text = random_text(chance)
        boundary: Boundary = chance.choice(["word", "char"])
        constraint = Constraint(text, MACHINE, boundary=boundary)
        answer = mutated(chance, random_answer(chance, constraint))
        legal = constraint.accepts(by_steps(constraint, constraint.start, answer))
        assert (constraint.read(answer) is not None) == legal
        assert constraint.accepts(constraint.advance(constraint.start, answer)) == legal


def mutated(chance: Random, answer: bytes) -> bytes:
    """One change, often one that models make: a missing space, an extra tag, another letter."""
    at = chance.randint(0, len(answer))
    to = min(len(answer), at + chance.choice([1, 1, 2, 6]))
    insertion = chance.choice([b" ", b"<drug>", b"</drug>", b"x", b"<", b"</brand>", b"\n", b"\xc3"])
    return chance.choice(
        [
            answer[:at] + answer[to:],
            answer[:at] + insertion + answer[at:],
            answer[:at] + insertion + answer[to:],
        ]
    )


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_offsets_are_code_points(text: str) -> None:
    constraint = Constraint(text, MACHINE)
    at = 0
    for place, character in enumerate(text):
        assert constraint.character_at(at) == place
        assert constraint.byte_at(place) == at
        at += len(character.encode())
    assert constraint.character_at(at) == len(text)
    assert constraint.byte_at(len(text)) == at


def test_tags_that_begin_alike_share_their_contexts() -> None:
    constraint = Constraint("x", MACHINE)
    state = constraint.advance(constraint.start, b"<drug")
    assert len(state) == 1
    assert set(constraint.next_bytes(state)) == set(b">_")
    assert constraint.step(state, ord("x")) == DEAD


def test_every_gold_answer_of_the_corpus_is_read_back(gold: dict[str, list[Sentence]]) -> None:
    """On train and devel: verbatim texts in, the same mentions out."""
    for sentence in (*gold["train"], *gold["devel"]):
        kept, _ = MACHINE.markup.expressible(sentence)
        answer = MACHINE.markup.write(sentence.text, kept)
        found = Constraint(sentence.text, MACHINE).read(answer.encode())
        assert spans(found) == as_spans(list(kept)), sentence.id
        assert re.sub("</?(drug|brand|group|drug_n)>", "", answer) == sentence.text
