"""Entity types: names as corpora have them, the tags made of them, and hashes that stay."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from vocabularies import byte_vocabulary

from constrained_ner.annotation.annotator import Annotator, Notify
from constrained_ner.annotation.settings import Settings
from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.constraint.automaton import Constraint, TagMachine
from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Mention, Span
from constrained_ner.errors import SchemaError
from constrained_ner.files import plain_json
from constrained_ner.formats.evaluator_lines import read_predictions
from constrained_ner.prompting.messages import Prompts
from constrained_ner.prompting.wording import PromptFile, built_in_prompts
from constrained_ner.runs.job import annotate_file
from constrained_ner.schema import DDI, EntityType, Schema

CORPUS = Schema(
    name="n2c2",
    types=(
        EntityType(name="Drug", description="a drug"),
        EntityType(name="Adverse Drug Event", description="an ADE"),
        EntityType(name="Dose/Strength"),
    ),
)


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("drug_n", "drug_n"),
        ("Adverse Drug Event", "Adverse_Drug_Event"),
        ("Dose/Strength", "Dose_Strength"),
        ("Médicament (DCI)", "Medicament_DCI"),
        ("2nd line", "t_2nd_line"),
        ("-x-", "x"),
    ],
)
def test_names_of_types_as_corpora_have_them_get_a_tag(name: str, tag: str) -> None:
    assert EntityType(name=name).tag == tag
    assert EntityType(name=name, tag="other").tag == "other"


@given(name=st.text(min_size=1, max_size=70))
def test_a_type_has_a_tag_that_is_an_identifier_or_is_refused(name: str) -> None:
    try:
        tag = EntityType(name=name).tag
    except ValidationError:
        return
    assert tag.isascii()
    assert tag[0].isalpha()
    assert tag.replace("-", "_").isidentifier()


def test_what_cannot_be_a_name_or_a_tag_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "types.json"
    for types, words in (
        ([{"name": "药物"}], "give it one with 'tag'"),
        ([{"name": "a|b"}], "no '|'"),
        ([{"name": "a b"}, {"name": "a/b"}], "have the same tag 'a_b': give one of them another with 'tag'"),
        ([{"name": "a", "tag": "1"}], "a tag is a letter"),
        ([{"name": " a"}], "no blank"),
    ):
        path.write_text(json.dumps({"name": "s", "types": types}), encoding="utf-8")
        with pytest.raises(SchemaError) as refusal:
            Schema.load(path)
        assert words in str(refusal.value)
        assert "\n" not in str(refusal.value)
    path.write_text(json.dumps({"name": "s", "types": [{"name": "药物", "tag": "drug"}]}), encoding="utf-8")
    assert Schema.load(path).types[0].tag == "drug"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON: Expecting value"),
        ("[" * 100_000, "not JSON that can be read"),
        ('{"name": "s", "types": ' + "1" * 5000 + "}", "not JSON that can be read"),
        ('["drug"]', "schema: must be an object, got ['drug']"),
        ('{"name": "s"}', "types: missing"),
        ('{"name": "s", "types": []}', "types: must not be empty, got []"),
        ('{"name": "s", "types": "drug"}', "types: must be a list, got 'drug'"),
        ('{"name": "s", "types": ["drug"]}', "types[0]: must be an object, got 'drug'"),
        ('{"name": "s", "types": [{"nme": "drug"}]}', "types[0].name: missing"),
        ('{"name": "s", "types": [{"name": 3}]}', "types[0].name: must be text, got 3"),
        ('{"name": "s", "types": [{"name": "drug", "descr": ""}]}', "types[0].descr: unknown field"),
    ],
)
def test_a_schema_of_another_shape_is_shown_the_right_one(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "types.json"
    path.write_text(content)
    with pytest.raises(SchemaError) as refusal:
        Schema.load(path)
    line, hint = str(refusal.value).splitlines()
    assert line.startswith(f"{path}: {message}")
    assert len(line) < 300
    path.write_text(hint.removeprefix("a schema looks like this: "))
    assert Schema.load(path).type_names == ("chemical",)


def test_the_tag_is_written_and_the_name_comes_back() -> None:
    markup = Markup(CORPUS)
    mention = Mention((Span(3, 7),), "Adverse Drug Event", "rash")
    answer = markup.write("No rash.", [mention])
    assert answer == "No <Adverse_Drug_Event>rash</Adverse_Drug_Event>."
    assert markup.parse(answer).mentions == (("Adverse Drug Event", Span(3, 7)),)
    (tagged,) = Constraint("No rash.", TagMachine(markup)).read(answer.encode()) or ()
    assert tagged.type == "Adverse Drug Event"


def test_the_prompt_shows_the_tag_and_the_name() -> None:
    system = Prompts(PromptFile.built_in(), Markup(CORPUS)).prepare_messages("x")[0].content
    assert "<Dose_Strength>...</Dose_Strength>" in system
    assert "Adverse_Drug_Event: Adverse Drug Event, an ADE\n" in system
    assert "Dose_Strength: Dose/Strength\n" in system
    assert "Drug: a drug\n" in system


def test_a_run_writes_the_names_of_the_types(tmp_path: Path) -> None:
    schema = tmp_path / "types.json"
    schema.write_text(CORPUS.model_dump_json())
    source = tmp_path / "in.xml"
    source.write_text('<c><sentence id="s0" text="Aspirin 50 mg gave a rash and more of it."/></c>')
    vocabulary = byte_vocabulary()

    def opening(settings: Settings, notify: Notify) -> Annotator:
        backend = FakeBackend(vocabulary, seeded_score(len(vocabulary), scale=9.0))
        return Annotator(backend, settings, notify=notify)

    settings = Settings(schema=schema, bias={"Dose/Strength": 2.0})
    record = annotate_file(source, tmp_path / "out", settings, open_annotator=opening)
    types = {mention.type for _, mention in read_predictions(tmp_path / "out")}
    assert types == set(record.n_mentions_by_type)
    assert types
    assert types <= set(CORPUS.type_names)


# ---- hashes


def test_the_hash_is_that_of_the_first_version() -> None:
    """Adapters carry it: a field that is added to the class must not change it."""
    dump = {
        "name": DDI.name,
        "types": [
            {"name": t.name, "description": t.description, "examples": list(t.examples)} for t in DDI.types
        ],
        "guide": list(DDI.guide),
    }
    content = json.dumps(dump, ensure_ascii=False, separators=(",", ":"))
    assert DDI.hash() == hashlib.sha256(content.encode()).hexdigest()
    assert DDI.hash() == "3a5d02e7faa7801a9ce0c0f9e23c51998cad90e3f34f57677cce9140513e7d0f"
    usual, other = (Schema(name="s", types=(EntityType(name="drug", tag=tag),)) for tag in ("drug", "d"))
    assert usual.hash() != other.hash()


@given(lines=st.lists(st.text()))
def test_hashes_are_of_the_text_that_pydantic_wrote(lines: list[str]) -> None:
    """As they were computed when the first adapters were made."""
    try:
        prompt = PromptFile(sysprompt=tuple(lines), usrprompt=("{sentence}",))
        dumped = prompt.model_dump_json()
    except ValueError:  # lone surrogates
        return
    assert plain_json({"sysprompt": prompt.sysprompt, "usrprompt": prompt.usrprompt}) == dumped
    assert prompt.hash() == hashlib.sha256(dumped.encode()).hexdigest()


def test_the_prompts_that_ship_keep_their_hashes() -> None:
    for name in built_in_prompts():
        prompt = PromptFile.built_in(name)
        assert prompt.hash() == hashlib.sha256(prompt.model_dump_json().encode()).hexdigest()


# ---- sixty types


def sixty() -> Schema:
    types = tuple(
        EntityType(
            name=f"type_{n}",
            description=f"number {n}: a class of names that nobody has seen before, described at length",
            examples=("one", "two"),
        )
        for n in range(60)
    )
    return Schema(name="sixty", types=types, guide=("A rule that fills the context. " * 5,))


@pytest.mark.parametrize(("context", "said"), [(16_000, False), (6_000, True), (4_200, True)])
def test_descriptions_are_shortened_when_sixty_types_do_not_fit(context: int, said: bool) -> None:
    notes: list[str] = []
    vocabulary = byte_vocabulary()
    backend = FakeBackend(vocabulary, seeded_score(len(vocabulary)), context_length=context)
    ner = Annotator(backend, schema=sixty(), notify=notes.append)
    assert bool(notes) == said
    assert ner.annotate("Take one.").text == "Take one."
