"""Legal tokens over every vocabulary: no dead ends, no answer but the sentence, fast equal to slow."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import pytest
from hard_texts import HARD_TEXTS, boundaries, chances, random_mentions, random_text, texts
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_automaton import as_spans, by_steps, spans, without_tags
from vocabularies import (
    byte_level_vocabulary,
    byte_vocabulary,
    sentencepiece_vocabulary,
    tag_token_vocabulary,
)

from constrained_ner.constraint.automaton import DEAD, Constraint, State, TagMachine
from constrained_ner.constraint.edges import Boundary
from constrained_ner.constraint.legal import END, LegalTokens, TokenRule
from constrained_ner.constraint.markup import Markup
from constrained_ner.constraint.tag_tokens import TagTokens
from constrained_ner.data import Sentence
from constrained_ner.schema import DDI
from constrained_ner.vocabulary import ROOT, Vocabulary

MACHINE = TagMachine(Markup(DDI))
TYPES = MACHINE.markup.types
MAKERS: dict[str, Callable[[], Vocabulary]] = {
    "bytes": byte_vocabulary,
    "byte-level": byte_level_vocabulary,
    "sentencepiece": sentencepiece_vocabulary,
    "tag tokens": tag_token_vocabulary,
}
REAL = ["gemma-4", "gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2"]
RULES: list[TokenRule] = ["canonical", "any"]
N_WALKS = 500  # per vocabulary, rule and boundary: 20,000 over all
rules: st.SearchStrategy[TokenRule] = st.sampled_from(RULES)


@cache
def small(name: str) -> TagTokens:
    return TagTokens(MACHINE, MAKERS[name]())


@pytest.fixture(scope="module", params=[*MAKERS, *REAL])
def tag_tokens(request: pytest.FixtureRequest) -> TagTokens:
    """The tags in each vocabulary in turn; the real ones are large, so only one at a time."""
    if request.param in MAKERS:
        return small(request.param)
    pytest.importorskip("llama_cpp")
    from constrained_ner.backends.llamacpp.vocabulary import load_vocabulary

    folder: Path = request.getfixturevalue("shared") / "vocab"
    return TagTokens(MACHINE, load_vocabulary(folder / f"ggml-vocab-{request.param}.gguf"))


def legal_tokens(text: str, tags: TagTokens, rule: TokenRule, boundary: Boundary = "word") -> LegalTokens:
    leading_space = tags.vocabulary.leading_space
    return LegalTokens(Constraint(text, MACHINE, boundary=boundary, leading_space=leading_space), tags, rule)


def random_walk(chance: Random, legal: LegalTokens) -> tuple[bytes, list[State]]:
    """Random legal tokens up to a stop token: the answer's bytes and the states on the way."""
    state, answer, states = legal.constraint.start, b"", []
    while state != END:
        states.append(state)
        following = legal.legal(state)
        assert following, f"dead end after {answer!r} in {legal.constraint.text!r}"
        token_id, state = chance.choice(sorted(following.items()))
        answer += b"" if state == END else legal.vocabulary.token_bytes[token_id]
    return answer, states


def check_answer(constraint: Constraint, answer: bytes) -> None:
    """It is the sentence with tags: by the automaton, and by removing the tags."""
    found = constraint.read(answer)
    assert found is not None, f"{answer!r} for {constraint.text!r}"
    copied = without_tags(answer, found, MACHINE.markup)
    has_space = constraint.start == (TagMachine.START,)
    assert copied == constraint.data or (has_space and copied == b" " + constraint.data)


@pytest.mark.parametrize("boundary", ["word", "char"])
@pytest.mark.parametrize("rule", RULES)
def test_random_walks_end_in_exactly_the_sentence(
    tag_tokens: TagTokens, rule: TokenRule, boundary: Boundary
) -> None:
    chance = Random(f"{rule} {boundary}")
    for number in range(N_WALKS):
        text = HARD_TEXTS[number] if number < len(HARD_TEXTS) else random_text(chance)
        legal = legal_tokens(text, tag_tokens, rule, boundary)
        answer, _ = random_walk(chance, legal)
        check_answer(legal.constraint, answer)


@pytest.mark.parametrize("rule", RULES)
def test_any_mentions_can_be_written_token_by_token(tag_tokens: TagTokens, rule: TokenRule) -> None:
    chance = Random(rule)
    boundary: Boundary
    for number in range(150):
        text = HARD_TEXTS[number] if number < len(HARD_TEXTS) else random_text(chance)
        boundary = chance.choice(["word", "char"])
        check_encoding(chance, legal_tokens(text, tag_tokens, rule, boundary), boundary)


def check_encoding(chance: Random, legal: LegalTokens, boundary: Boundary) -> None:
    constraint, vocabulary = legal.constraint, legal.vocabulary
    mentions = random_mentions(chance, constraint.text, TYPES, boundary)
    answer = MACHINE.markup.write(constraint.text, mentions).encode()
    steps = list(legal.encode(mentions))
    *token_ids, stop_id = (token_id for token_id, _ in steps)
    assert stop_id in vocabulary.stop_ids
    assert vocabulary.decode(token_ids) == b" " * vocabulary.leading_space + answer
    assert all(token_id in following for token_id, following in steps)
    if legal.rule == "any" and not legal.tag_tokens.controls:
        assert token_ids == vocabulary.encode(" " * vocabulary.leading_space + answer.decode())
    if not any(tag in constraint.text for tag in MACHINE.all_tags()):
        assert spans(constraint.read(vocabulary.decode(token_ids))) == as_spans(mentions)


@settings(max_examples=60)
@given(texts, boundaries, st.sampled_from(list(MAKERS)), rules, chances)
@example(" x", "word", "sentencepiece", "any", Random(0))
@example("  <drug>x", "word", "sentencepiece", "canonical", Random(0))
def test_on_small_vocabularies(
    text: str, boundary: Boundary, name: str, rule: TokenRule, chance: Random
) -> None:
    """The same, with hypothesis to find the smallest failing text."""
    legal = legal_tokens(text, small(name), rule, boundary)
    answer, _ = random_walk(chance, legal)
    check_answer(legal.constraint, answer)
    check_encoding(chance, legal, boundary)


def walk_by_states(legal: LegalTokens, state: State) -> dict[int, State]:
    """The tokens whose bytes fit: the trie walked along whole states, not item by item as `legal` does."""
    found: dict[int, State] = {}
    trie = legal.vocabulary.trie
    stack = [(ROOT, state)]
    while stack:
        node, at = stack.pop()
        for byte, after in legal.constraint.next_bytes(at).items():
            child = trie.edges.get(node << 8 | byte)
            if child is not None:
                found.update(dict.fromkeys(trie.tokens.get(child, ()), after))
                stack.append((child, after))
    return found


def test_fast_equals_slow_and_canonical_is_part_of_any(tag_tokens: TagTokens) -> None:
    """In every state of some walks: the walk by items against one by states, and each token by steps."""
    chance = Random(2)
    for number in range(80):
        text = HARD_TEXTS[number] if number < len(HARD_TEXTS) else random_text(chance, 6)
        boundary: Boundary = chance.choice(["word", "char"])
        some = legal_tokens(text, tag_tokens, "canonical", boundary)
        every = legal_tokens(text, tag_tokens, "any", boundary)
        constraint, token_bytes = some.constraint, tag_tokens.vocabulary.token_bytes
        _, states = random_walk(chance, chance.choice([some, every]))
        for state in chance.sample(states, min(len(states), 12)):
            slow = walk_by_states(every, state)
            for token_id in tag_tokens.controls:
                if after := by_steps(constraint, state, token_bytes[token_id]):
                    slow[token_id] = after
            if constraint.accepts(state):
                slow.update(dict.fromkeys(tag_tokens.vocabulary.stop_ids, END))
            assert every.legal(state) == slow
            for token_id, after in every.legal(state).items():
                if after != END:
                    assert by_steps(constraint, state, token_bytes[token_id]) == after != DEAD
            assert some.legal(state).items() <= slow.items()
            copied = some.copying_token(state)
            assert copied is None or copied in slow


def test_every_token_that_fits_is_found() -> None:
    """The rule `any` against trying every token of the vocabulary."""
    for name in MAKERS:
        tags, chance = small(name), Random(3)
        for text in [*HARD_TEXTS, *(random_text(chance) for _ in range(20))]:
            legal = legal_tokens(text, tags, "any", chance.choice(["word", "char"]))
            _, states = random_walk(chance, legal)
            state = chance.choice(states)
            fitting = {
                token_id
                for token_id, piece in enumerate(tags.vocabulary.token_bytes)
                if piece
                and (token_id not in tags.vocabulary.control_ids or token_id in tags.controls)
                and by_steps(legal.constraint, state, piece)
            }
            stops = tags.vocabulary.stop_ids if legal.constraint.accepts(state) else frozenset()
            assert set(legal.legal(state)) == fitting | stops


def test_without_mentions_the_canonical_path_is_the_models_own_tokenisation(tag_tokens: TagTokens) -> None:
    chance = Random(4)
    for text in [*HARD_TEXTS, *(random_text(chance) for _ in range(100))]:
        if tag_tokens.vocabulary.leading_space and text.startswith(" "):
            continue  # its first space is the tokenizer's or its own: either is legal
        legal = legal_tokens(text, tag_tokens, "canonical")
        state, ids = legal.constraint.start, []
        while (token_id := legal.copying_token(state)) is not None:
            ids.append(token_id)
            state = legal.legal(state)[token_id]
        assert legal.constraint.accepts(state)
        own = tag_tokens.vocabulary.encode(" " * tag_tokens.vocabulary.leading_space * bool(text) + text)
        assert ids == own


@pytest.mark.parametrize(
    "sentence", ["Effect of aspirin on beta-blockers. ", "アスピリンと(aspirin)ワルファリン、"]
)
def test_leaving_the_path_costs_the_same_in_a_long_text(sentence: str) -> None:
    """Bytes that are tokenised when an answer opens a mention in the middle of a token, once a sentence."""

    def n_tokenised(text: str) -> int:
        plain, n_bytes = byte_level_vocabulary(), 0

        def tokenize(piece: str) -> list[int]:
            nonlocal n_bytes
            n_bytes += len(piece.encode())
            return plain.encode(piece)

        vocabulary = Vocabulary(
            plain.token_bytes, control_ids=plain.control_ids, stop_ids=plain.stop_ids, tokenize=tokenize
        )
        legal = legal_tokens(text, TagTokens(MACHINE, vocabulary), "canonical", "char")
        machine, n_bytes = legal.constraint.machine, 0
        legal.legal(legal.start)
        for place in range(2, len(text), len(sentence)):
            legal.legal(machine.state(legal.constraint.byte_at(place), machine.OUTSIDE))
        return n_bytes

    assert n_tokenised(sentence * 400) < 2.5 * n_tokenised(sentence * 200)


@pytest.mark.parametrize(("every_nth", "rule"), [(150, "canonical"), (150, "any")])
def test_gold_of_the_corpus_round_trips(
    tag_tokens: TagTokens, gold: dict[str, list[Sentence]], every_nth: int, rule: TokenRule
) -> None:
    check_gold([*gold["train"], *gold["devel"]][::every_nth], tag_tokens, rule)


def test_all_gold_round_trips_with_tag_tokens(gold: dict[str, list[Sentence]]) -> None:
    check_gold([*gold["train"], *gold["devel"]], small("tag tokens"), "canonical")


def check_gold(sentences: list[Sentence], tags: TagTokens, rule: TokenRule) -> None:
    for sentence in sentences:
        kept, _ = MACHINE.markup.expressible(sentence)
        legal = legal_tokens(sentence.text, tags, rule)
        *token_ids, _ = (token_id for token_id, _ in legal.encode(kept))
        found = legal.constraint.read(tags.vocabulary.decode(token_ids))
        assert spans(found) == as_spans(list(kept)), sentence.id
        if rule == "canonical" and sentence.text.isascii() and not kept and not tags.vocabulary.leading_space:
            assert token_ids == tags.vocabulary.encode(sentence.text)
