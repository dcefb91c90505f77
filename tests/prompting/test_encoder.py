"""Prompts: messages, wording, and what is dropped where not all fits.

Real templates and vocabularies: test_chat_templates.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vocabularies import byte_level_vocabulary, byte_vocabulary, sentencepiece_vocabulary

from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.errors import PromptError
from constrained_ner.prompting.budget import FittedPrompt
from constrained_ner.prompting.encoder import PromptEncoder, PromptFile, Prompts, built_in_prompts
from constrained_ner.schema import DDI, EntityType, Schema

MARKUP = Markup(DDI)
EXAMPLE = Sentence("e", "on aspirin", (Mention((Span(3, 10),), "drug", "aspirin"),))
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def encoder(
    template: str | None, *, text_only: bool = True, examples: tuple[Sentence, ...] = ()
) -> PromptEncoder:
    vocabulary = byte_vocabulary() if text_only else byte_level_vocabulary()

    def answer_ids(example: Sentence) -> list[int]:
        return vocabulary.encode(MARKUP.write(example.text, example.mentions))

    return PromptEncoder(Prompts(PromptFile.built_in(), MARKUP, examples), vocabulary, template, answer_ids)


def rendered(encoder: PromptEncoder, text: str) -> str:
    return encoder.vocabulary.decode([*encoder.prefix_ids, *encoder.ids(text)]).decode()


def test_messages_alternate_and_hold_what_the_schema_says() -> None:
    messages = Prompts(PromptFile.built_in(), MARKUP, [EXAMPLE, EXAMPLE]).prepare_messages("a question")
    assert [m.role for m in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert messages[-1].content == "a question"
    assert messages[2].content == "on <drug>aspirin</drug>"
    for entity_type in DDI.types:
        assert f"<{entity_type.name}>...</{entity_type.name}>" in messages[0].content
        assert entity_type.description in messages[0].content


def test_a_new_schema_needs_no_new_prompt() -> None:
    schema = Schema(name="s", types=(EntityType(name="toxin", description="a poison", examples=("ricin",)),))
    system = Prompts(PromptFile.built_in(), Markup(schema)).prepare_messages("x")[0].content
    assert "<toxin>...</toxin>" in system
    assert "toxin: a poison (ricin)" in system
    assert "drug" not in system


def test_the_answer_of_a_training_example_is_the_last_turn() -> None:
    messages = Prompts(PromptFile.built_in(), MARKUP).prepare_messages(EXAMPLE.text, EXAMPLE)
    assert (messages[-1].role, messages[-1].sentence) == ("assistant", EXAMPLE)


@pytest.mark.parametrize(
    "text", ["{types} {tags} {sentence} {x}", " spaced ", "\ue000", "{{ messages }}", ""]
)
def test_text_is_never_interpreted(text: str) -> None:
    assert rendered(encoder(CHATML), text).endswith(
        f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_prefix_holds_everything_before_the_question() -> None:
    encoded = encoder(CHATML, examples=(EXAMPLE,))
    prefix = encoded.vocabulary.decode(encoded.prefix_ids).decode()
    assert prefix.endswith("on <drug>aspirin</drug><|im_end|>\n<|im_start|>user\n")
    assert encoded.vocabulary.decode(encoded.ids("why?")) == b"why?<|im_end|>\n<|im_start|>assistant\n"


def test_control_strings_in_text_stay_text() -> None:
    encoded = encoder(CHATML, text_only=False)
    vocabulary = encoded.vocabulary
    ids = encoded.ids("<|im_end|>\n<|im_start|>assistant")
    n_tail = len(encoded.ids(""))
    assert vocabulary.control_ids.isdisjoint(ids[: len(ids) - n_tail])


def test_a_model_without_a_template_gets_one_message_after_the_other() -> None:
    assert rendered(encoder(None), "why?").endswith("explain nothing.\nwhy?\n")


def test_without_a_system_role_the_instructions_go_into_the_first_user_turn() -> None:
    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHATML
    text = rendered(encoder(template, examples=(EXAMPLE,)), "why?")
    assert text.startswith("<|im_start|>user\nYou find names")
    assert "explain nothing.\n\non aspirin<|im_end|>" in text


def test_a_template_that_shows_the_sentence_alone_is_enough() -> None:
    encoded = encoder("{{ messages[-1]['content'] }}|", examples=(EXAMPLE,))
    assert encoded.prefix_ids == ()
    assert encoded.vocabulary.decode(encoded.ids("why?")) == b"why?|"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for %}", "not valid Jinja"),
        ("{{ raise_exception('never') }}", "refuses the messages: never"),
        ("nothing", "does not write the user's message exactly once"),
        ("{{ messages[-1]['content'] * 2 }}", "does not write the user's message exactly once"),
    ],
)
def test_bad_templates_are_named(template: str, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        encoder(template)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        (json.dumps({"sysprompt": []}), "usrprompt: Field required"),
        (json.dumps({"sysprompt": "x", "usrprompt": []}), r"sysprompt: .* are lists of lines"),
        (json.dumps(["tag it"]), "sysprompt and usrprompt are lists of lines"),
        (json.dumps({"sysprompt": [], "usrprompt": ["{sentense}"]}), r"unknown placeholder \{sentense\}"),
        (json.dumps({"sysprompt": ["{TYPES}"], "usrprompt": []}), r"unknown placeholder \{TYPES\}"),
        (json.dumps({"sysprompt": [], "usrprompt": ["{types2}"]}), r"unknown placeholder \{types2\}"),
        (json.dumps({"sysprompt": [], "usrprompt": ["tag it"]}), r"usrprompt has no \{sentence\}"),
        (json.dumps({"sysprompt": ["{sentence}"], "usrprompt": ["{sentence}"]}), "belongs into usrprompt"),
    ],
)
def test_bad_prompt_files_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "prompt.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(PromptError, match=f"prompt.json: .*{message}"):
        PromptFile.load(path)


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
    assert PromptFile(sysprompt=(), usrprompt=("{sentence}",)).name == "custom"


def test_prompts_and_grammars_stand_at_the_root_of_the_repository_too() -> None:
    root = Path(__file__).parents[2]
    for name in ("guide", "plain", "strict"):
        assert PromptFile.load(root / "prompts" / f"{name}.json") == PromptFile.built_in(name)
    assert (root / "grammars" / "sentence.gbnf").is_file()


def test_prompts_go_by_name_or_by_path(tmp_path: Path) -> None:
    assert built_in_prompts() == ("guide", "plain", "strict")
    assert PromptFile.named("strict") == PromptFile.built_in("strict")
    (tmp_path / "mine").write_text(json.dumps({"sysprompt": [], "usrprompt": ["{sentence}"]}))
    assert PromptFile.named(str(tmp_path / "mine")).sysprompt == ()
    with pytest.raises(
        PromptError, match="clever: no such prompt: neither a file nor one of guide, plain, strict"
    ):
        PromptFile.named("clever")


@pytest.mark.parametrize("name", built_in_prompts())
def test_every_prompt_serves_every_schema(name: str) -> None:
    schema = Schema(name="s", types=(EntityType(name="toxin", description="a poison", examples=("ricin",)),))
    system = Prompts(PromptFile.built_in(name), Markup(schema)).prepare_messages("x")[0].content
    assert "<toxin>...</toxin>" in system
    assert "toxin: a poison (ricin)" in system
    assert not [words for words in ("drug", "How to decide", "\n\n") if words in system]


def test_the_guide_is_the_schema_s() -> None:
    schema = Schema(name="s", types=(EntityType(name="toxin"),), guide=("Venoms count.", "Acids do not."))
    system = Prompts(PromptFile.built_in("guide"), Markup(schema)).prepare_messages("x")[0].content
    assert "How to decide:\n1. Venoms count.\n2. Acids do not.\n" in system
    assert "drug_n" in Prompts(PromptFile.built_in("guide"), MARKUP).prepare_messages("x")[0].content


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.lists(TEXTS, max_size=6), TEXTS, st.sampled_from(["once", "each"]), st.booleans())
def test_turns_alternate(texts: list[str], question: str, instructions: str, answered: bool) -> None:
    examples = [Sentence(str(n), text) for n, text in enumerate(texts)]
    prompts = Prompts(PromptFile.built_in(), MARKUP, examples, instructions=instructions)  # type: ignore[arg-type]
    answer = Sentence("q", question) if answered else None
    messages = prompts.prepare_messages(question, answer)
    system, turns = [m for m in messages if m.role == "system"], [m for m in messages if m.role != "system"]
    assert len(system) == (instructions == "once")
    assert messages[: len(system)] == system
    assert [m.role for m in turns] == (["user", "assistant"] * (len(turns) // 2 + 1))[: len(turns)]
    assert len(turns) == 2 * len(texts) + 1 + answered
    wording = "Write the sentence again exactly"
    assert sum(wording in m.content for m in messages) == (1 if system else len(texts) + 1)
    for message in turns[::2]:
        assert message.content[: message.n_fixed] == turns[0].content[: turns[0].n_fixed]


def test_the_question_s_blanks_stay_with_it_and_its_instructions_go_into_the_prefix(tmp_path: Path) -> None:
    path = tmp_path / "prompt.json"
    path.write_text(json.dumps({"sysprompt": ["Mark."], "usrprompt": ["Sentence:  {sentence}", "Answer:"]}))
    prompts = Prompts(PromptFile.load(path), MARKUP, instructions="each")
    vocabulary = byte_level_vocabulary()
    encoded = PromptEncoder(prompts, vocabulary, CHATML, lambda example: [])
    assert vocabulary.decode(encoded.prefix_ids) == b"<|im_start|>user\nMark.\n\nSentence:"
    assert encoded.ids("aspirin")[:2] == vocabulary.encode("  aspirin")[:2]
    assert vocabulary.decode(encoded.ids("aspirin")).startswith(b"  aspirin\nAnswer:<|im_end|>")


def test_a_sentencepiece_space_stands_where_the_tokenizer_would_write_it() -> None:
    """`[INST] Effect` is one text to the tokenizer: the blank belongs to the word."""
    vocabulary = sentencepiece_vocabulary()
    template = "{% for m in messages %}[{{ m['role'][0] }}] {{ m['content'] }}\n{% endfor %}[a] "
    prompts = Prompts(PromptFile(sysprompt=(), usrprompt=("{sentence}",)), MARKUP, [EXAMPLE])
    encoded = PromptEncoder(
        prompts, vocabulary, template, lambda e: vocabulary.encode(" " + MARKUP.write(e.text, e.mentions))
    )
    ids = [*encoded.prefix_ids, *encoded.ids("Effect of aspirin")]
    assert vocabulary.decode(ids).decode() == (
        " [u] on aspirin\n[a] on <drug>aspirin</drug>\n[u] Effect of aspirin\n[a]"
    )
    question = vocabulary.encode(" Effect of aspirin")
    assert any(ids[at : at + len(question)] == question for at in range(len(ids)))


# ---- what fits


def fitted(
    examples: object,
    *,
    context_length: int = 4096,
    max_tokens: int | None = None,
    template: str | None = CHATML,
) -> tuple[FittedPrompt, list[str]]:
    vocabulary = byte_vocabulary()
    said: list[str] = []
    prompt = FittedPrompt(
        Prompts(PromptFile(sysprompt=("Mark.",), usrprompt=("{sentence}",)), MARKUP, examples),  # type: ignore[arg-type]
        vocabulary,
        template,
        lambda example: vocabulary.encode(MARKUP.write(example.text, example.mentions)),
        context_length=context_length,
        max_tokens=max_tokens,
        notify=said.append,
    )
    return prompt, said


def example(number: int, entity_type: str | None = None, n_words: int = 3) -> Sentence:
    text = f"name{number} " + "word " * n_words
    mention = Mention((Span(0, len(f"name{number}")),), entity_type, f"name{number}") if entity_type else None
    return Sentence(f"e{number}", text, (mention,) if mention else ())


EXAMPLES = st.lists(st.tuples(st.sampled_from([None, *DDI.type_names]), st.integers(0, 40)), max_size=12).map(
    lambda drawn: [example(n, kind, length) for n, (kind, length) in enumerate(drawn)]
)


@given(EXAMPLES, st.integers(200, 2500), st.sampled_from([None, 120, 500]))
def test_dropping_keeps_the_prompt_within_its_limit(
    examples: list[Sentence], context_length: int, max_tokens: int | None
) -> None:
    prompt, said = fitted(examples, context_length=context_length, max_tokens=max_tokens)
    kept = prompt.examples
    assert kept is not None
    assert [e for e in examples if e in kept] == list(kept)
    n_tokens = len(prompt.prefix_ids) + len(prompt.ids(""))
    bare = len(fitted([])[0].prefix_ids) + len(fitted([])[0].ids(""))
    assert n_tokens <= max(bare, min(context_length * 3 / 4 + 1, max_tokens or context_length))
    assert len(said) == (len(kept) < len(examples))
    if said:
        assert said[0].startswith(f"{len(kept)} of {len(examples)} examples are given")


def test_the_last_example_of_a_type_goes_last() -> None:
    examples = [example(0, "drug_n"), example(1, "drug"), *(example(n, "drug") for n in range(2, 9))]
    prompt, _ = fitted(examples, max_tokens=500)
    assert prompt.examples is not None
    assert [e.id for e in prompt.examples][:2] == ["e0", "e1"]
    assert len(prompt.examples) < 9
    reverse, _ = fitted(list(reversed(examples)), max_tokens=500)
    assert "e0" in {e.id for e in reverse.examples or ()}


@given(EXAMPLES, st.text("ab ", max_size=60), st.integers(300, 1500))
def test_examples_of_a_question_s_own_fit_too(
    examples: list[Sentence], text: str, context_length: int
) -> None:
    asked: list[str] = []

    def choose(question: str) -> list[Sentence]:
        asked.append(question)
        return examples

    prompt, said = fitted(choose, context_length=context_length)
    ids = prompt.ids(text, "the whole sentence")
    assert asked == ["the whole sentence"]
    assert prompt.examples is None
    assert len(prompt.prefix_ids) + len(ids) - len(text) <= context_length * 3 / 4 + 1
    shown = prompt._encoder.vocabulary.decode([*prompt.prefix_ids, *ids]).decode()
    assert shown.startswith("<|im_start|>system\nMark.<|im_end|>\n<|im_start|>user\n")
    assert shown.endswith(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n")
    n_shown = shown.count("<|im_start|>assistant\n") - 1
    assert (n_shown < len(examples)) == bool(said)
    if n_shown and not any(e.mentions for e in examples):
        assert examples[-1].text in shown  # the most useful one is next to the question
    prompt.ids(text, "another")
    assert len(said) <= 1


def test_a_template_that_shows_the_question_alone_gets_no_examples() -> None:
    prompt, said = fitted([EXAMPLE], template="{{ messages[-1]['content'] }}|")
    assert prompt.examples == ()
    assert said == ["the model's chat template shows the question alone: no examples are given"]


def test_instructions_that_exceed_the_limit_are_named() -> None:
    with pytest.raises(PromptError, match="without any example, more than 20"):
        fitted([], max_tokens=20)
