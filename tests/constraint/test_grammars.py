"""One language in several notations, checked with the engines that read them."""

from __future__ import annotations

import ctypes
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hard_texts import HARD_TEXTS, random_text
from test_automaton import MACHINE, SHORT, mutated, random_answer

from constrained_ner.constraint.automaton import Constraint, TagMachine
from constrained_ner.constraint.edges import Boundary
from constrained_ner.constraint.grammars import Dialect, gbnf, json_schema, lark, regex, render, words
from constrained_ner.constraint.grammars.json_schema import are_pieces, join_pieces, split_pieces
from constrained_ner.data import Mention, Sentence
from constrained_ner.errors import SentenceError

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_TEXT = 'Beta-blockers "<5 mg"\n'
SUFFIXES: dict[Dialect, str] = {
    "gbnf": "gbnf",
    "lark": "lark",
    "regex": "regex",
    "json-schema": "schema.json",
}
CASES = [
    *((text, MACHINE, "word", False) for text in HARD_TEXTS),
    *((text, MACHINE, "word", True) for text in ("", " ", "x", " x", "<drug>x")),
    *((text, SHORT, "char", False) for text in ("<a>x</a>", "<a-b>", "ab<ab", "é\u0301 <", "\U0001f48ax")),
    *((text, SHORT, "word", False) for text in ("<a>x</a-b> y", "x-y", "<ab><a-b>z</ab>")),
]
"""Text, types, boundary, leading space."""


# ---- the engines: does each accept this whole answer?


class LlamaGrammar:
    """llama.cpp's own matcher, driven through a vocabulary of single bytes and longer tokens.

    llama_sampler_accept aborts the process on a token that does not fit, so each one is tried first.
    """

    def __init__(self, model: Any, grammar: str) -> None:
        import llama_cpp

        self.llama, self.model = llama_cpp, model
        self.sampler = llama_cpp.llama_sampler_init_grammar(model.vocab, grammar.encode(), b"root")
        assert self.sampler, "llama.cpp cannot read the grammar"

    def accepts(self, token_ids: Iterable[int]) -> bool:
        self.llama.llama_sampler_reset(self.sampler)
        for token_id in token_ids:
            if not self._is_legal(token_id):
                return False
            self.llama.llama_sampler_accept(self.sampler, token_id)
        return self._is_legal(self.llama.llama_vocab_eos(self.model.vocab))

    def _is_legal(self, token_id: int) -> bool:
        candidate = self.llama.llama_token_data(token_id, 1.0, 0.0)
        candidates = self.llama.llama_token_data_array(ctypes.pointer(candidate), 1, -1, False)
        self.llama.llama_sampler_apply(self.sampler, ctypes.byref(candidates))
        return candidate.logit == 1.0

    def close(self) -> None:
        self.llama.llama_sampler_free(self.sampler)


@pytest.fixture(scope="module")
def llama_model(shared: Path) -> Any:
    pytest.importorskip("llama_cpp")
    from constrained_ner.backends.llamacpp.model import LlamaModel

    return LlamaModel(shared / "vocab" / "ggml-vocab-gpt-2.gguf", vocab_only=True)


@cache
def byte_tokenizer() -> Any:
    """llguidance over one token per byte, and an end."""
    llguidance = pytest.importorskip("llguidance")

    class Bytes:
        tokens = [*(bytes([byte]) for byte in range(256)), b"<end>"]  # noqa: RUF012
        eos_token_id, bos_token_id, special_token_ids = 256, None, [256]

        def __call__(self, text: bytes | str) -> list[int]:
            return list(text if isinstance(text, bytes) else text.encode())

    return llguidance.LLTokenizer(llguidance.TokenizerWrapper(Bytes()))


class LlguidanceGrammar:
    def __init__(self, grammar: str) -> None:
        from llguidance import LLMatcher

        self.matcher = LLMatcher(byte_tokenizer(), grammar)
        assert not self.matcher.is_error(), self.matcher.get_error()

    def accepts(self, answer: bytes) -> bool:
        self.matcher.reset()
        consumed = self.matcher.try_consume_tokens(list(answer))
        return bool(consumed == len(answer) and self.matcher.is_accepting())


def lark_matcher(grammar: str) -> LlguidanceGrammar:
    from llguidance import LLMatcher

    return LlguidanceGrammar(LLMatcher.grammar_from_lark(grammar))


# ---- answers, right and wrong


def answers(chance: Random, constraint: Constraint, n_answers: int) -> Iterator[tuple[bytes, bool]]:
    """Random walks over the automaton and their mutations, each with whether it is legal."""
    for _ in range(n_answers):
        answer = random_answer(chance, constraint)
        yield answer, True
        for wrong in (mutated(chance, answer), answer[: chance.randint(0, len(answer))]):
            yield wrong, constraint.read(wrong) is not None


def as_constraint(case: tuple[str, TagMachine, Boundary, bool]) -> Constraint:
    text, machine, boundary, leading_space = case
    return Constraint(text, machine, boundary=boundary, leading_space=leading_space)


def is_unicode(answer: bytes) -> bool:
    try:
        answer.decode()
    except UnicodeDecodeError:
        return False
    return True


def check_gbnf(model: Any, constraint: Constraint, chance: Random, n_answers: int) -> None:
    grammar = LlamaGrammar(model, gbnf.render(constraint))
    for answer, legal in answers(chance, constraint, n_answers):
        if is_unicode(answer) and b"\0" not in answer:
            ids = model.tokenize(answer.decode(), specials=False)
            assert grammar.accepts(ids) == legal, f"{answer!r} for {constraint.text!r}"
    grammar.close()


def check_lark(constraint: Constraint, chance: Random, n_answers: int) -> None:
    matcher = lark_matcher(lark.render(constraint))
    for answer, legal in answers(chance, constraint, n_answers):
        assert matcher.accepts(answer) == legal, f"{answer!r} for {constraint.text!r}"


def check_regex(constraint: Constraint, chance: Random, n_answers: int) -> None:
    pattern = re.compile(regex.render_sentence(constraint))
    for answer, legal in answers(chance, constraint, n_answers):
        if is_unicode(answer):
            matches = pattern.fullmatch(answer.decode()) is not None
            assert matches == legal, f"{answer!r} for {constraint.text!r}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case[0])[:30])
def test_gbnf_in_llama_cpp_on_hard_sentences(
    llama_model: Any, case: tuple[str, TagMachine, Boundary, bool]
) -> None:
    check_gbnf(llama_model, as_constraint(case), Random(5), 8)


@pytest.mark.parametrize(
    "case", [*CASES, ("nul \0 x", MACHINE, "word", False)], ids=lambda c: ascii(c[0])[:30]
)
def test_lark_in_llguidance_on_hard_sentences(case: tuple[str, TagMachine, Boundary, bool]) -> None:
    check_lark(as_constraint(case), Random(6), 8)


# The regular expressions of longer texts are tested only for their size.
SHORT_CASES = [
    case
    for case in (*CASES, ("nul \0 x", MACHINE, "word", False))
    if len(words(as_constraint(case))[0]) <= 12
]


@pytest.mark.parametrize("case", SHORT_CASES, ids=lambda c: ascii(c[0])[:30])
def test_regular_expression_on_hard_sentences(case: tuple[str, TagMachine, Boundary, bool]) -> None:
    check_regex(as_constraint(case), Random(7), 8)


def devel_constraints(gold: dict[str, list[Sentence]]) -> list[Constraint]:
    return [Constraint(sentence.text, MACHINE) for sentence in gold["devel"][3::7]][:200]


def test_gbnf_in_llama_cpp_on_devel(llama_model: Any, gold: dict[str, list[Sentence]]) -> None:
    chance = Random(8)
    for constraint in devel_constraints(gold):
        check_gbnf(llama_model, constraint, chance, 2)


def test_lark_in_llguidance_on_devel(gold: dict[str, list[Sentence]]) -> None:
    chance = Random(9)
    for constraint in devel_constraints(gold):
        check_lark(constraint, chance, 2)


def test_regular_expression_on_devel(gold: dict[str, list[Sentence]]) -> None:
    """`re` compiles slowly, so the sentences of up to 12 words."""
    chance = Random(10)
    short = [c for c in devel_constraints(gold) if len(words(c)[0]) <= 12]
    assert len(short) > 40
    for constraint in short:
        check_regex(constraint, chance, 6)


def test_random_texts() -> None:
    chance = Random(11)
    for _ in range(60):
        machine, boundary = chance.choice([(MACHINE, "word"), (SHORT, "word"), (SHORT, "char")])
        text = random_text(chance, 6)
        constraint = as_constraint((text, machine, boundary, chance.random() < 0.3))
        check_lark(constraint, chance, 3)
        if len(words(constraint)[0]) <= 9:
            check_regex(constraint, chance, 3)


# ---- limits


def test_llama_cpp_cannot_match_nul() -> None:
    with pytest.raises(SentenceError, match="character 4 is NUL"):
        gbnf.render(Constraint("nul \0 x", MACHINE))


def test_a_long_regular_expression_is_refused_with_the_way_out() -> None:
    text = " ".join(f"w{number}" for number in range(40))
    with pytest.raises(SentenceError, match=r"40 words and 4 types .* 300000 characters: use GBNF or Lark"):
        regex.render_sentence(Constraint(text, MACHINE))
    assert len(regex.render_sentence(Constraint(text, MACHINE), max_characters=10_000_000)) < 3_000_000


def test_rules_are_few_and_refer_to_later_ones() -> None:
    text = " ".join(f"w{number}" for number in range(1000))
    lines = [line for line in gbnf.render(Constraint(text, MACHINE)).splitlines() if "::=" in line]
    assert len(lines) == 1 + 1000 + 4 * 999
    names = [line.split(" ::= ")[0] for line in lines]
    place = {name: number for number, name in enumerate(names)}
    assert len(place) == len(names)
    for number, line in enumerate(lines):
        bare = re.sub(r'"(\\.|[^"\\])*"', "", line.split(" ::= ")[1])
        assert all(place[name] > number for name in re.findall(r"[\w-]+", bare))
        assert not re.search(r"[{}*+]", bare)


def test_words_are_the_text() -> None:
    for text in HARD_TEXTS:
        found, tail = words(Constraint(text, MACHINE))
        assert "".join(word.gap + word.core for word in found) + tail == text
        assert all(word.gap == "" or word.gap.isspace() for word in found)
        assert all(word.core for word in found)


# ---- the JSON schema


def as_pieces(constraint: Constraint, answer: bytes) -> str:
    """An answer as the JSON array that the schema asks for."""
    found, tail = words(constraint)
    tags = "|".join(map(re.escape, constraint.machine.all_tags()))
    rest, pieces = answer.decode(), []
    for word in found:
        pattern = f"{re.escape(word.gap)}(?:{tags})?{re.escape(word.core)}(?:</[a-z_]+>)?"
        match = re.match(pattern, rest)
        assert match
        pieces.append(match[0])
        rest = rest[match.end() :]
    return json.dumps([*pieces, tail] if tail or not found else pieces, ensure_ascii=False)


def test_the_schema_takes_every_answer_in_pieces() -> None:
    from llguidance import LLMatcher

    chance = Random(12)
    for text in ("Beta-blockers, too ", "", 'é \U0001f48a \\ "', "x\ny"):
        constraint = Constraint(text, MACHINE)
        matcher = LlguidanceGrammar(LLMatcher.grammar_from_json_schema(json_schema.render_pieces(constraint)))
        for _ in range(10):
            answer = random_answer(chance, constraint)
            pieces = as_pieces(constraint, answer)
            assert matcher.accepts(pieces.encode())
            assert join_pieces(pieces) == answer.decode()
            assert are_pieces(constraint, pieces)
            assert not are_pieces(constraint, pieces[:-1])
            assert not are_pieces(constraint, pieces.replace("[", '["', 1).replace("[", '["x", ', 1))
            tagged = constraint.read(answer)
            mentions = [Mention((t.span,), t.type, "") for t in tagged or ()]
            assert json.loads(split_pieces(constraint, mentions)) == json.loads(pieces)


def test_the_schema_is_looser_but_never_alters_the_text() -> None:
    constraint = Constraint("x y", MACHINE)
    choices = [piece["enum"] for piece in json.loads(json_schema.render_pieces(constraint))["prefixItems"]]
    assert [len(enum) for enum in choices] == [13, 13]
    unpaired = "<drug>x y</brand>"
    assert unpaired in {first + second for first in choices[0] for second in choices[1]}
    assert constraint.read(unpaired.encode()) is None
    texts = {re.sub("<[^>]*>", "", first + second) for first in choices[0] for second in choices[1]}
    assert texts == {"x y"}


@pytest.mark.parametrize(
    ("answer", "joined"), [('["a ", "b"]', "a b"), ('["a", 1]', None), ("[", None), ("1", None)]
)
def test_join_pieces(answer: str, joined: str | None) -> None:
    assert join_pieces(answer) == joined


# ---- the templates


@pytest.mark.parametrize("dialect", SUFFIXES)
def test_the_rendered_grammar_is_the_committed_one(dialect: Dialect) -> None:
    """After a change to a template: look at the difference, then write the file again."""
    rendered = render(Constraint(GOLDEN_TEXT, MACHINE, leading_space=True), dialect)
    assert rendered == (GOLDEN / f"sentence.{SUFFIXES[dialect]}").read_text(encoding="utf-8")
