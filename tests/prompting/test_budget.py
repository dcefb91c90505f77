"""What is dropped if not all examples fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vocabularies import byte_vocabulary

from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.errors import PromptError
from constrained_ner.prompting.budget import FittedPrompt, shortened_types
from constrained_ner.prompting.messages import Prompts
from constrained_ner.prompting.wording import PromptFile
from constrained_ner.schema import DDI, EntityType, Schema

MARKUP = Markup(DDI)
EXAMPLE = Sentence("e", "on aspirin", (Mention((Span(3, 10),), "drug", "aspirin"),))
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


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
        assert said[0].startswith(f"only {len(kept)} of {len(examples)} examples fit")


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


def test_examples_are_refused_where_a_template_shows_the_question_alone() -> None:
    template = "{{ messages[-1]['content'] }}|"
    prompt, said = fitted([], template=template)
    assert not prompt.shows_instructions
    assert said == []
    with pytest.raises(PromptError, match="examples do not reach it: leave out --shots, or use an instruct"):
        fitted([EXAMPLE], template=template)


def test_instructions_that_exceed_the_limit_are_named() -> None:
    with pytest.raises(PromptError, match="without any example, more than 20"):
        fitted([], max_tokens=20)


def asked(context_length: int) -> tuple[str, list[str]]:
    """The instructions for sixty types on a server, with a byte a token, and what was said."""
    types = tuple(
        EntityType(
            name=f"Type {n}/A",
            description=f"names of the kind {n}: all of them, that is",
            examples=("one", "two"),
        )
        for n in range(60)
    )
    said: list[str] = []
    prompts = Prompts(PromptFile.built_in(), Markup(Schema(name="sixty", types=types)))
    shortened = shortened_types(prompts, len, context_length, said.append)
    return shortened.prepare_messages("x")[0].content, said


def test_types_are_described_as_briefly_as_a_servers_context_asks_for() -> None:
    whole, said = asked(100_000)
    assert "Type_7_A: Type 7/A, names of the kind 7: all of them, that is (one, two)" in whole
    assert said == []
    lengths = [len(whole)]
    for context_length, line in (
        (len(whole) + 200, "Type_7_A: Type 7/A, names of the kind 7: all of them, that is\n"),
        (len(whole) - 900, "Type_7_A: Type 7/A, names of the kind 7\n"),
        (64, "Type_7_A: Type 7/A\n"),
    ):
        text, said = asked(context_length)
        assert line in text
        assert said == ["the types are described more briefly, so that the prompt fits the context"]
        lengths.append(len(text))
    assert lengths == sorted(lengths, reverse=True)
