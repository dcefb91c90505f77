"""Texts that have broken annotators, texts made of their parts, and mentions to mark in them."""

from __future__ import annotations

from bisect import bisect_right
from random import Random

from hypothesis import strategies as st

from constrained_ner.constraint.edges import CLOSE, OPEN, Boundary, edges
from constrained_ner.data import Mention, Span

HARD_TEXTS = [
    "",
    " ",
    "   \t ",
    "\n",
    "x",
    "aspirin",
    "Effect of aspirin on beta-blockers in patients with heart failure. ",
    "  two blanks before, two after  ",
    "no-break\u00a0space, em\u2003space, zero\u200bwidth, line\u2028separator, next\u0085line",
    "tab\tand\nnewline\r\nand\x0bform\x0cfeed",
    "control \x01\x02\x1b[0m \x7f\x80 marks",
    "a literal <drug> and </drug> here",
    "<drug>aspirin</drug>",
    "<drug><drug>x</drug> <drug_n>y</drug_n></drug>",
    "<drug",
    "drug>",
    "a <",
    "< 5 mg < 10 mg << 3",
    "5 <6> 7 </ 8 </d",
    "<|eot_id|></s><s><unk>[PAD151646]<|im_end|> <0x0A>",
    "&lt;drug&gt; &amp;",
    "Naïve cells, β-lactamase – 50 µg/mL; e\u0301te\u0301, \u0301alone",
    "\U0001f469\u200d\U0001f52c gave \U0001f48a\U0001f48a to \U0001f1ea\U0001f1f8",
    "אספירין (aspirin) تفاعل الدواء \u202eright to left\u202c",
    "アスピリンとワルファリン、阿司匹林。",
    "\ufeffbyte order mark, \ufffd replacement, \U000e0041 tag, \U0010ffff last",
    "quotes \" and ' and ` and \\ backslashes \\n \\x41 \\u0041 $x ${x} %s {x}",
    ".+*?()|[]{}^$#&-~/",
    "(3-(4-hydroxy)-2,3-dihydro)-1H-[1,4]benzodiazepin-2-one",
    "ketoconazole/itraconazole/erythromycin",
    "2-" * 30 + "ol",
    "a" * 300,
    "aspirin aspirin aspirin aspirin",
    "A.B.C",
]

_PARTS = [
    *(
        "aspirin",
        "beta",
        "blockers",
        "MPTP",
        "a",
        "drug",
        "drug_n",
        "of",
        "3",
        "10",
        "é",
        "e\u0301",
        "\u0301",
    ),
    *(" ", " ", " ", " ", "  ", "\t", "\n", "\u00a0", "\u2003", "\u200b", "\r\n", "\x01", "\x7f"),
    *("-", "-", "/", ",", ".", "(", ")", "[", "]", '"', "\\", "'", "&", "|", "<", ">", "</", "/>"),
    *("<drug>", "</drug>", "<drug", "drug>", "<drug_n>", "</drug_n>", "<brand>", "</", "<d", "</drug"),
    *("<|eot_id|>", "</s>", "<s>", "<unk>", "<0x0A>", "<|im_start|>", "<think>", "\u2581", "\u0120"),
    *("\U0001f48a", "\U0001f469\u200d\U0001f52c", "β", "µ", "אספירין", "دواء", "薬", "\u202e", "\U0010ffff"),
]


def random_text(chance: Random, max_parts: int = 12) -> str:
    return "".join(chance.choice(_PARTS) for _ in range(chance.randint(0, max_parts)))


characters = st.characters(exclude_categories=("Cs",))
texts = st.one_of(
    st.sampled_from(HARD_TEXTS),
    st.text(characters, max_size=12),
    st.lists(st.one_of(st.sampled_from(_PARTS), characters), max_size=10).map("".join),
)
chances = st.integers(0, 2**32).map(Random)  # ten times faster than drawing each number from hypothesis
boundaries: st.SearchStrategy[Boundary] = st.sampled_from(["word", "char"])


def random_mentions(
    chance: Random, text: str, types: tuple[str, ...], boundary: Boundary, density: float = 0.3
) -> list[Mention]:
    """Mentions that the markup can express, sorted, disjoint, some of them adjacent."""
    places = edges(text, boundary)
    closes = [place for place, edge in enumerate(places) if edge & CLOSE]
    mentions: list[Mention] = []
    done = 0
    for start, edge in enumerate(places):
        if edge & OPEN and start >= done and chance.random() < density:
            n_words = min(chance.randint(1, 9), chance.randint(1, 9))
            first = bisect_right(closes, start)
            done = closes[min(first + n_words, len(closes)) - 1]
            mentions.append(Mention((Span(start, done),), chance.choice(types), text[start:done]))
    return mentions
