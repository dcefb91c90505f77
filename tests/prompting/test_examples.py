"""Examples: how they are chosen, what may not be one, and what the command line says of both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
from commands import run_command
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import byte_level_tokenizer, write_gguf, write_transformers

from constrained_ner.annotation.annotator import Annotator, bundled_model
from constrained_ner.backends.cache_size import cache_bytes_per_token, cache_note
from constrained_ner.cli import annotate
from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Document, Mention, Sentence, Span
from constrained_ner.errors import InputError, UserError
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.prompting.examples.by_similarity import SimilarExamples
from constrained_ner.prompting.examples.fixed import diverse, first, quota, random
from constrained_ner.prompting.examples.pool import Pool, examples_hash
from constrained_ner.prompting.examples.request import ExampleRequest
from constrained_ner.prompting.wording import PromptFile
from constrained_ner.runs.examples import chosen_examples
from constrained_ner.runs.splits import (
    data_hash,
    earlier_test_run,
    keep_apart,
    ledger_path,
    note_test_run,
    split_of,
)
from constrained_ner.schema import DDI

ROOT = Path(__file__).parents[2]
SAMPLE, SHOTS = ROOT / "examples" / "sample.xml", ROOT / "examples" / "shots.xml"
MARKUP = Markup(DDI)

WORDS = ("aspirin", "lithium", "levels", "rose", "with", "statins", "in", "Zocor", "MPTP", "patients", "fell")
TYPE_OF = {"aspirin": "drug", "lithium": "drug", "statins": "group", "Zocor": "brand", "MPTP": "drug_n"}


def sentence(words: Sequence[str], sentence_id: str) -> Sentence:
    """Words with the mentions that TYPE_OF says."""
    mentions, at = [], 0
    for word in words:
        if word in TYPE_OF:
            mentions.append(Mention((Span(at, at + len(word)),), TYPE_OF[word], word))
        at += len(word) + 1
    return Sentence(sentence_id, " ".join(words), tuple(mentions))


@st.composite
def corpora(draw: st.DrawFn) -> list[Document]:
    texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8)
    drawn = draw(st.lists(st.lists(texts, min_size=1, max_size=4), min_size=1, max_size=8))
    return [
        Document(f"d{d}", tuple(sentence(words, f"d{d}.s{n}") for n, words in enumerate(document)))
        for d, document in enumerate(drawn)
    ]


def types_of(sentences: Sequence[Sentence]) -> set[str]:
    return {mention.type for s in sentences for mention in s.mentions}


# ---- the pool


def test_what_tags_cannot_express_is_no_example() -> None:
    whole = sentence(["aspirin"], "whole")
    split = Sentence("split", "cough and cold", (Mention((Span(0, 5), Span(10, 14)), "drug", "cough cold"),))
    inside = Sentence("inside", "aspirins", (Mention((Span(0, 7),), "drug", "aspirin"),))
    unknown = Sentence("unknown", "fever", (Mention((Span(0, 5),), "disease", "fever"),))
    blank = Sentence("blank", " \n")
    documents = [Document("d", (whole, split, inside, unknown, blank))]
    assert [c.sentence.id for c in Pool.of(documents, MARKUP).candidates] == ["whole"]
    assert [c.sentence.id for c in Pool.of(documents, MARKUP, "char").candidates] == ["whole", "inside"]


@pytest.mark.parametrize("select", ["first", "random", "diverse", "similar"])
def test_the_same_text_is_shown_once_and_contradicting_ones_as_the_majority_has_it(
    tmp_path: Path, select: str
) -> None:
    """The sentence about midazolam occurs six times, as a drug and as a brand."""
    text = "Concomitant use of midazolam with inhibitors is not advised."
    kinds = ["brand", "drug", "brand", "drug", "drug", "drug"]
    repeated = [
        Document(f"L{n}", (Sentence(f"L{n}.s0", text, (Mention((Span(19, 28),), kind, "midazolam"),)),))
        for n, kind in enumerate(kinds)
    ]
    others = [sentence([word, "rose", "in", "patients"], f"o.s{n}") for n, word in enumerate(TYPE_OF)]
    documents = [*repeated, Document("o", tuple(others))]
    usable = {s.id for document in documents for s in document}
    question = Document("q", (Sentence("q.s0", "Use of midazolam with strong inhibitors."),))
    said: list[str] = []
    request = ExampleRequest(tmp_path / "pool.xml", 5, select)
    chosen = request.choose(documents, usable, [question], DDI, say=said.append)
    shown = chosen(question.sentences[0].text) if isinstance(chosen, SimilarExamples) else chosen
    assert len(shown) == len({s.text for s in shown}) == 5
    assert [s.mentions[0].type for s in shown if s.text == text] in (["drug"], [])
    assert select != "similar" or shown[-1].id == "L1.s0"
    (line,) = said
    assert "texts that occur several times with different entities: 1, for instance that of" in line


def test_equal_texts_that_agree_are_nothing_to_speak_of() -> None:
    twice = [sentence(["aspirin", "rose"], name) for name in ("a", "b")]
    pool, contradicted = Pool.of([Document("d", tuple(twice))], MARKUP).distinct()
    assert [candidate.sentence.id for candidate in pool.candidates] == ["a"]
    assert not contradicted


def test_rare_types_have_less_than_half_of_an_even_share() -> None:
    counts = {"aspirin": 10, "statins": 6, "Zocor": 2, "MPTP": 1}
    names = [name for name, n in counts.items() for _ in range(n)]
    pool = Pool.of([Document("d", tuple(sentence([w], f"s{n}") for n, w in enumerate(names)))], MARKUP)
    assert pool.types == ("drug_n", "brand", "group", "drug")
    assert pool.rare_types == ("drug_n", "brand")


# ---- the same for every question


@given(corpora(), st.integers(0, 3))
def test_a_selection_is_of_the_pool_without_repeats_and_the_same_each_time(
    documents: list[Document], seed: int
) -> None:
    pool = Pool.of(documents, MARKUP)
    for n in range(len(pool) + 1):
        for select in (
            lambda n: first(pool, n),
            lambda n: random(pool, n, seed),
            lambda n: diverse(pool, n, seed),
        ):
            chosen = select(n)
            assert len({s.id for s in chosen}) == len(chosen) == n
            assert chosen == select(n)
        assert random(pool, n, seed) == random(pool, len(pool), seed)[:n]


@given(corpora(), st.integers(0, 3))
def test_the_order_of_a_file_does_not_matter_to_a_drawing(documents: list[Document], seed: int) -> None:
    pools = [Pool.of(order, MARKUP) for order in (documents, documents[::-1])]
    ways = [random(pool, len(pool), seed) for pool in pools]
    assert ways[0] == ways[1]


@given(corpora(), st.integers(0, 3), st.integers(1, 12))
def test_diverse_shows_every_type_where_it_can(documents: list[Document], seed: int, n: int) -> None:
    pool = Pool.of(documents, MARKUP)
    n = min(n, len(pool))
    chosen = diverse(pool, n, seed)
    if n >= len(pool.types):
        assert types_of(chosen) == set(pool.types)
    if chosen and pool.types:
        most = max(len(c.types) for c in pool.candidates)
        assert len(types_of(chosen)) >= min(most, n)


@given(corpora(), st.integers(0, 3), st.integers(8, 30))
def test_diverse_fills_the_quota_of_each_type(documents: list[Document], seed: int, n: int) -> None:
    pool = Pool.of(documents, MARKUP)
    n = min(n, len(pool))
    if n < 2 * len(pool.types):
        return
    chosen = diverse(pool, n, seed)
    for name in pool.types:
        n_there_are = sum(name in c.types for c in pool.candidates)
        assert sum(name in types_of([s]) for s in chosen) >= min(quota(n, len(pool.types)), n_there_are)


def test_diverse_prefers_other_documents() -> None:
    documents = [
        Document(f"d{d}", tuple(sentence(["aspirin"], f"d{d}.s{n}") for n in range(5))) for d in range(4)
    ]
    chosen = diverse(Pool.of(documents, MARKUP), 4, 0)
    assert len({s.id.split(".")[0] for s in chosen}) == 4


def test_another_seed_draws_others(gold: dict[str, list[Sentence]]) -> None:
    pool = Pool.of([Document("d", tuple(gold["train"]))], MARKUP)
    assert {s.id for s in random(pool, 15, 0)} != {s.id for s in random(pool, 15, 1)}
    assert types_of(diverse(pool, 15, 3)) == set(DDI.type_names)


# ---- similar to each question


@settings(max_examples=40)
@given(corpora(), corpora(), st.integers(1, 6))
def test_similar_examples_are_never_of_the_question_s_document_or_the_question_over_again(
    documents: list[Document], others: list[Document], n: int
) -> None:
    pool = Pool.of(documents, MARKUP)
    similar = SimilarExamples(pool, n, [*documents[:3], *others])
    place = {s.id: d.id for d in documents for s in d}
    for document in documents[:3]:
        for question in document:
            chosen = similar(question.text)
            assert len({s.id for s in chosen}) == len(chosen) <= n
            assert document.id not in {place[s.id] for s in chosen}
            assert question.text not in {s.text for s in chosen}
    assert similar("nothing of the kind") is not None


def test_the_most_similar_is_last_and_rare_types_have_their_places() -> None:
    texts = [f"levels of lithium rose in {n} patients" for n in range(20)]
    common = [sentence(text.split(), f"a{n}") for n, text in enumerate(texts)]
    rare = [sentence(["MPTP", *["fell"] * n], f"r{n}") for n in range(2)]
    near = sentence(["levels", "of", "aspirin", "rose", "in", "the", "elderly"], "near")
    documents = [Document(s.id, (s,)) for s in (near, *rare, *common)]
    similar = SimilarExamples(Pool.of(documents, MARKUP), 6)
    chosen = similar("aspirin: its levels in the elderly")
    assert chosen[-1].id == "near"
    assert chosen[0].id in {"r0", "r1"}
    assert len(chosen) == 6
    assert sum("MPTP" in s.text for s in chosen) == quota(6, 2) == 2
    assert "MPTP" not in " ".join(s.text for s in SimilarExamples(similar.pool, 1)("levels of aspirin fell"))


def test_near_duplicates_are_left_out(gold: dict[str, list[Sentence]]) -> None:
    """A comma, a capital or a full stop more or less make no other sentence."""
    pool = Pool.of([Document("d", tuple(gold["train"][:400]))], MARKUP)
    similar = SimilarExamples(pool, 3)
    for question in [s for s in gold["train"][:400] if len(s.text) > 60][:20]:
        for text in (question.text, question.text.upper(), question.text.rstrip(" .") + ", too."):
            assert question.id not in {s.id for s in similar(text)}


def test_questions_may_come_one_by_one_or_many_at_once(gold: dict[str, list[Sentence]]) -> None:
    pool = Pool.of([Document("d", tuple(gold["train"][:300]))], MARKUP)
    questions = [Document("q", tuple(s for s in gold["devel"][:300]))]
    many, one = SimilarExamples(pool, 5, questions), SimilarExamples(pool, 5)
    for question in gold["devel"][:300:29]:
        assert [s.id for s in many(question.text)] == [s.id for s in one(question.text)]
    assert many.hash() == one.hash() != SimilarExamples(pool, 4).hash()


# ---- what was asked for


def write(path: Path, sentences: Sequence[Sentence]) -> Path:
    lines = []
    for s in sentences:
        entities = "".join(
            f'<entity id="{s.id}.e{n}" charOffset="{m.start}-{m.end - 1}" type="{m.type}"/>'
            for n, m in enumerate(s.mentions)
        )
        lines.append(f'<sentence id="{s.id}" text={quoteattr(s.text)}>{entities}</sentence>')
    path.write_text(f'<document id="d">{"".join(lines)}</document>', encoding="utf-8")
    return path


def ask(examples: Path, n: int | None, select: str = "diverse") -> list[Sentence]:
    chosen = chosen_examples(ExampleRequest(examples, n, select), read_ddi(SAMPLE), SAMPLE, DDI)
    assert isinstance(chosen, list)
    return chosen


def test_hand_picked_sentences_come_in_their_order(tmp_path: Path) -> None:
    listed = tmp_path / "ids"
    listed.write_text("# mine\nshots.toxins.s0  # a toxin\n\nshots.antacids.s1\nshots.statins.s2\n")
    assert [s.id for s in ask(SHOTS, None, str(listed))] == [
        "shots.toxins.s0",
        "shots.antacids.s1",
        "shots.statins.s2",
    ]
    assert len(ask(SHOTS, 2, str(listed))) == 2


def test_what_cannot_be_given_is_named(tmp_path: Path) -> None:
    listed = tmp_path / "ids"
    with pytest.raises(
        InputError, match="--shots asks for 20 examples, but only 15 of the file's 15 sentences can be one"
    ):
        ask(SHOTS, 20)
    with pytest.raises(InputError, match="say how many examples you want, with --shots"):
        ask(SHOTS, None)
    with pytest.raises(InputError, match=r"--select best: no such file: .* first, random, diverse, similar"):
        ask(SHOTS, 2, "best")
    listed.write_text("shots.toxins.s0\nnobody\n")
    with pytest.raises(InputError, match=r"ids: line 2: sentence nobody is not in .*shots\.xml"):
        ask(SHOTS, None, str(listed))
    listed.write_text("shots.toxins.s0\nshots.toxins.s0\n")
    with pytest.raises(InputError, match=r"line 2: sentence shots\.toxins\.s0 is listed twice"):
        ask(SHOTS, None, str(listed))
    with pytest.raises(InputError, match="lists 2 sentences, but --shots asks for 3"):
        ask(SHOTS, 3, str(listed))
    with pytest.raises(InputError, match="no sentence has entities"):
        ask(write(tmp_path / "bare.xml", [Sentence("x", "No name.")]), 1)
    other = Sentence("x", "fever", (Mention((Span(0, 5),), "disease", "fever"),))
    with pytest.raises(InputError, match=r"no example has entities of the schema's types \(drug, brand,"):
        ask(write(tmp_path / "other.xml", [other, Sentence("y", "plain")]), 1)
    listed.write_text("x\n")
    both = write(tmp_path / "both.xml", [other, sentence(["aspirin"], "y")])
    with pytest.raises(InputError, match="line 1: sentence x cannot be an example: it is empty, its text is"):
        ask(both, None, str(listed))


def test_a_command_line_without_examples_asks_for_none() -> None:
    assert ExampleRequest.wanted(None, None, "diverse", 0) is None
    assert ExampleRequest.wanted(0, SHOTS, "similar", 0) is None
    assert ExampleRequest.wanted(3, SHOTS, "similar", 1) == ExampleRequest(SHOTS, 3, "similar", 1)
    with pytest.raises(UserError, match="name a file with --examples"):
        ExampleRequest.wanted(3, None, "diverse", 0)


# ---- what is evaluated is not learnt from


def test_sentences_of_the_evaluated_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"sample\.xml: sentence sample\.\S+ \(and \d+ others\) is also in .*sample"
    ):
        ask(SAMPLE, 2)
    renamed = [Sentence(f"n{n}", s.text.upper(), s.mentions) for n, s in enumerate(sample())]
    with pytest.raises(
        InputError, match=r"the text of sentence n0 \(and \d+ others\) .* cannot be used as examples"
    ):
        ask(write(tmp_path / "renamed.xml", renamed), 2)


def sample() -> list[Sentence]:
    return [s for document in read_ddi(SAMPLE) for s in document]


def test_a_phrase_that_two_files_share_is_left_out_and_no_reason_to_refuse() -> None:
    evaluated = [Sentence(f"e{n}", f"A sentence about the number {n} of many.") for n in range(50)]
    used = [Sentence(f"u{n}", f"Another sentence about the number {n}.") for n in range(50)]
    shared = Sentence("u", " a SENTENCE about the number 7  of many.")
    short = [Sentence("e", "Not known."), Sentence("f", "Not known.")]
    kept = keep_apart(
        [*used, shared, short[1]],
        [*evaluated, short[0]],
        used_path="t",
        evaluated_path="e",
        purpose="training",
    )
    assert kept == [*used, short[1]]
    with pytest.raises(InputError, match=r"t: sentence e7 is also in e: .* cannot be used for training"):
        keep_apart(evaluated[7:8], evaluated, used_path="t", evaluated_path="e", purpose="training")


def test_the_splits_are_known_in_any_order_and_any_xml(gold: dict[str, list[Sentence]]) -> None:
    for name, sentences in gold.items():
        assert split_of(data_hash(reversed(sentences)), None, "f") == name
    hash_of_devel = data_hash(gold["devel"])
    with pytest.raises(InputError, match=r"f\.xml: is the devel split of the DDI corpus, not test"):
        split_of(hash_of_devel, "test", "f.xml")
    assert split_of(data_hash(gold["devel"][1:]), None, "f") is None
    assert split_of(data_hash(gold["devel"][1:]), "test", "f") == "test"


def test_the_course_s_own_splits_may_be_used_together(gold: dict[str, list[Sentence]]) -> None:
    kept = keep_apart(
        gold["train"], gold["devel"], used_path="train", evaluated_path="devel", purpose="examples"
    )
    assert 0 < len(gold["train"]) - len(kept) < 200


def test_the_ledger_names_the_last_run_with_other_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert earlier_test_run("data", "a") is None
    for options in ("a", "b"):
        assert note_test_run("data", options, f"out-{options}") is None
    with ledger_path().open("a") as ledger:
        ledger.write('{"half a li')
    assert earlier_test_run("other data", "c") is None
    found = earlier_test_run("data", "b")
    assert found is not None
    assert (found.options, found.output) == ("a", "out-a")
    monkeypatch.setenv("XDG_STATE_HOME", str(SAMPLE))  # a file, where there should be a folder
    assert "cannot be noted" in str(note_test_run("data", "a", "out"))


# ---- the command


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf", byte_level_tokenizer())


def run(*arguments: object) -> int:
    """llm-NERC in this process, on two sentences, with a context that has room for them."""
    always = ("--context", 8192, "--threads", 1, "--limit", 2)
    return run_command(annotate.main, SAMPLE, *arguments, *always)


@pytest.mark.parametrize("select", ["first", "random", "diverse", "similar"])
def test_shots_are_shown_and_recorded(tmp_path: Path, model: Path, select: str) -> None:
    out = tmp_path / "out"
    arguments = ("--model", model, "--shots", 3, "--examples", SHOTS, "--select", select, "--seed", 5)
    assert run(out, *arguments, "--prompt", "strict", "--instructions", "each", "--quiet") == 0
    record = json.loads((tmp_path / "out.run.json").read_text())
    options = record["options"]
    expected = {"shots": 3, "select": select, "seed": 5, "prompt": "strict", "instructions": "each"}
    assert {name: options[name] for name in expected} == expected
    assert len(options["examples_hash"]) == 64
    assert (record["split"], len(record["data_hash"])) == (None, 64)
    if select == "similar":
        assert "example_ids" not in options
    else:
        assert len(options["example_ids"]) == 3
        shown = {s.id: s for document in read_ddi(SHOTS) for s in document}
        assert options["examples_hash"] == examples_hash(shown[i] for i in options["example_ids"])
    assert run(tmp_path / "bare", "--model", model, "--quiet") == 0
    bare = json.loads((tmp_path / "bare.run.json").read_text())
    assert record["effort"]["n_prompt_tokens"] > bare["effort"]["n_prompt_tokens"]
    assert record["fingerprint"] != bare["fingerprint"]
    assert bare["options"]["prompt"] == "plain"


def test_the_record_names_the_prompt_that_was_used_whoever_chose_it(model: Path) -> None:
    """An adapter brings its own."""
    bare = PromptFile(sysprompt=(), usrprompt=("Text: {sentence}",))
    for prompt, name in ((PromptFile.built_in("strict"), "strict"), (bare, "custom")):
        with Annotator.load(model, prompt=prompt, context=2048, threads=1) as annotator:
            assert annotator.choices()["prompt"] == name


def test_one_line_says_how_many_examples_were_kept(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--model", model, "--examples", SHOTS, "--max-prompt-tokens", 900)
    for select in ("diverse", "similar"):
        assert run(tmp_path / select, *arguments, "--shots", 12, "--select", select) == 0
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note:")]
        assert len(said) == 1
        assert "of 12 examples" in said[0]
        assert "limited to 900 tokens" in said[0]


@pytest.mark.parametrize("select", ["diverse", "similar"])
def test_the_bundled_model_refuses_examples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], select: str
) -> None:
    arguments = ("--model", bundled_model(), "--examples", SHOTS, "--shots", 2, "--select", select)
    assert run(tmp_path / "out", *arguments) == 2
    assert "leave out --shots, or use an instruct model" in capsys.readouterr().err


def test_the_bundled_model_refuses_types_that_it_was_not_trained_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = tmp_path / "types.json"
    schema.write_text('{"name": "s", "types": [{"name": "drug"}, {"name": "Adverse Drug Event"}]}')
    assert run(tmp_path / "out", "--model", bundled_model(), "--schema", schema) == 2
    error = capsys.readouterr().err
    assert "and does not know Adverse Drug Event: use an instruct model" in error
    schema.write_text('{"name": "s", "types": [{"name": "drug"}]}')
    assert run(tmp_path / "out", "--model", bundled_model(), "--schema", schema, "--limit", 2) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shots", 2), "name a file with --examples"),
        (("--examples", SHOTS), "say how many examples"),
        (("--shots", 2, "--examples", SAMPLE), "cannot be used as examples"),
        (("--shots", 99, "--examples", SHOTS), "--shots asks for 99 examples"),
        (("--shots", 2, "--examples", SHOTS, "--select", "nearest"), "--select nearest: no such file"),
        (("--prompt", "clever"), "neither a file nor one of bare, guide, list, plain, strict"),
        (("--max-prompt-tokens", 3), "without any example, more than 3"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    tmp_path: Path,
    model: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[object, ...],
    message: str,
) -> None:
    assert run(tmp_path / "out", "--model", model, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_second_test_with_other_settings_is_warned_of(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    warnings = []
    for prompt in ("plain", "plain", "guide"):
        assert (
            run(tmp_path / "out", "--model", model, "--split", "test", "--prompt", prompt, "--overwrite") == 0
        )
        warnings.append([line for line in capsys.readouterr().err.splitlines() if "warning:" in line])
    assert [len(said) for said in warnings] == [0, 0, 1]
    assert "this test split was evaluated with other settings on 20" in warnings[2][0]
    assert json.loads((tmp_path / "out.run.json").read_text())["split"] == "test"


def test_examples_of_its_own_change_what_a_sentence_costs_and_not_what_is_found(model: Path) -> None:
    class SameForEach:
        def __call__(self, question: str) -> Sequence[Sentence]:
            return shown

        def hash(self) -> str:
            return ""

    shown = [s for document in read_ddi(SHOTS) for s in document][:3]
    found, costs = [], []
    for examples in (shown, SameForEach()):
        with Annotator.load(model, examples=examples, context=4096, threads=1) as annotator:
            results = list(annotator.run(sample()[:3]))
            found.append([result.sentence for result in results])
            costs.append([result.effort for result in results])
    assert found[0] == found[1]
    for shared, own in zip(*costs, strict=True):
        assert (shared.n_prompt_tokens, shared.n_passes) == (own.n_prompt_tokens, own.n_passes)
        assert own.n_tokens > shared.n_tokens + 100


# ---- memory


def test_the_size_of_the_cache_is_known_before_loading(tmp_path: Path, model: Path) -> None:
    assert cache_bytes_per_token(model) == 2 * 32 * (1 + 1) * 4  # layers, width, keys and values, float32
    folder = write_transformers(tmp_path / "llama", "llama")
    assert cache_bytes_per_token(folder) == 2 * (2 * 8) * 2 * 4  # two of four heads have keys
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    assert cache_bytes_per_token(folder, on_cpu=False) == 2 * (2 * 8) * 2 * 2
    assert cache_bytes_per_token("organisation/name") is None
    assert cache_note(model, 5000) is None
    assert "2.0 GiB of cache" in str(cache_note(model, 1 << 22))
