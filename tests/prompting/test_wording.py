"""Prompt files: what they may say, and which ones ship."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from constrained_ner.constraint.markup import Markup
from constrained_ner.errors import PromptError
from constrained_ner.prompting.messages import Prompts
from constrained_ner.prompting.wording import PromptFile, built_in_prompts
from constrained_ner.schema import DDI, EntityType, Schema

MARKUP = Markup(DDI)
SHAPE = "a prompt is two lists of lines: "


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON: .*\n" + SHAPE),
        (json.dumps({"sysprompt": [], "usrprompt": ["{sentence}"], "x": 1}), "x: unknown field\n" + SHAPE),
        (json.dumps({"sysprompt": []}), "usrprompt: missing\n" + SHAPE),
        (json.dumps({"sysprompt": "x", "usrprompt": []}), r"sysprompt: must be a list, got 'x'\n" + SHAPE),
        (json.dumps(["tag it"]), "prompt: must be an object, got .*\n" + SHAPE),
        (json.dumps({"sysprompt": [], "usrprompt": ["{sentense}"]}), r"unknown placeholder \{sentense\}"),
        (json.dumps({"sysprompt": ["{TYPES}"], "usrprompt": []}), r"unknown placeholder \{TYPES\}"),
        (json.dumps({"sysprompt": [], "usrprompt": ["{types2}"]}), r"unknown placeholder \{types2\}"),
        (json.dumps({"sysprompt": [], "usrprompt": ["tag it"]}), r"usrprompt has no \{sentence\}"),
        (json.dumps({"sysprompt": ["{sentence}"], "usrprompt": ["{sentence}"]}), "belongs in usrprompt"),
    ],
)
def test_bad_prompt_files_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "prompt.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(PromptError, match=f"prompt.json: .*{message}"):
        PromptFile.load(path)


def test_the_shape_that_an_error_shows_is_that_of_a_prompt(tmp_path: Path) -> None:
    path = tmp_path / "prompt.json"
    path.write_text("[]")
    with pytest.raises(PromptError) as refusal:
        PromptFile.load(path)
    path.write_text("\ufeff" + str(refusal.value).partition(SHAPE)[2], encoding="utf-8")
    assert PromptFile.load(path).usrprompt == ("{sentence}",), "with the mark that Windows puts first, too"


def test_a_missing_prompt_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="cannot be read"):
        PromptFile.load(tmp_path / "none.json")


def test_braces_that_are_no_placeholder_are_text(tmp_path: Path) -> None:
    path = tmp_path / "prompt.json"
    path.write_text(
        json.dumps({"sysprompt": ['{"a": 1} {A}'], "usrprompt": ["{sentence}"]}), encoding="utf-8"
    )
    assert Prompts(PromptFile.load(path), MARKUP).prepare_messages("x")[0].content == '{"a": 1} {A}'


def test_a_shipped_wording_is_known_by_its_name(tmp_path: Path) -> None:
    assert [PromptFile.built_in(name).name for name in built_in_prompts()] == list(built_in_prompts())
    assert PromptFile(sysprompt=(), usrprompt=("{sentence}!",)).name == "custom"


def test_prompts_and_grammars_stand_at_the_root_of_the_repository_too() -> None:
    root = Path(__file__).parents[2]
    for name in built_in_prompts():
        assert PromptFile.load(root / "prompts" / f"{name}.json") == PromptFile.built_in(name)
    assert (root / "grammars" / "sentence.gbnf").is_file()


def test_prompts_go_by_name_or_by_path(tmp_path: Path) -> None:
    assert built_in_prompts() == ("bare", "guide", "list", "plain", "strict")
    assert PromptFile.named("strict") == PromptFile.built_in("strict")
    (tmp_path / "mine").write_text(json.dumps({"sysprompt": [], "usrprompt": ["{sentence}"]}))
    assert PromptFile.named(str(tmp_path / "mine")).sysprompt == ()
    with pytest.raises(
        PromptError,
        match="clever: no such prompt: neither a file nor one of bare, guide, list, plain, strict",
    ):
        PromptFile.named("clever")


def test_the_bare_prompt_is_the_sentence() -> None:
    (message,) = Prompts(PromptFile.built_in("bare"), MARKUP).prepare_messages("x")
    assert (message.role, message.content) == ("user", "x")


@pytest.mark.parametrize("name", sorted(set(built_in_prompts()) - {"bare"}))
def test_every_prompt_serves_every_schema(name: str) -> None:
    schema = Schema(name="s", types=(EntityType(name="toxin", description="a poison", examples=("ricin",)),))
    system = Prompts(PromptFile.built_in(name), Markup(schema)).prepare_messages("x")[0].content
    assert ("<toxin>...</toxin>" in system) == (name != "list")
    assert "toxin: a poison (ricin)" in system
    assert not [words for words in ("drug", "How to decide", "\n\n") if words in system]


def test_the_guide_is_the_schema_s() -> None:
    schema = Schema(name="s", types=(EntityType(name="toxin"),), guide=("Venoms count.", "Acids do not."))
    system = Prompts(PromptFile.built_in("guide"), Markup(schema)).prepare_messages("x")[0].content
    assert "How to decide:\n1. Venoms count.\n2. Acids do not.\n" in system
    assert "drug_n" in Prompts(PromptFile.built_in("guide"), MARKUP).prepare_messages("x")[0].content
