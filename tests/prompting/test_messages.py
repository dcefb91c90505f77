"""Messages: what they hold, and that turns alternate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.prompting.messages import Prompts
from constrained_ner.prompting.wording import PromptFile
from constrained_ner.schema import DDI, EntityType, Schema

MARKUP = Markup(DDI)
EXAMPLE = Sentence("e", "on aspirin", (Mention((Span(3, 10),), "drug", "aspirin"),))


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


def test_examples_are_shown_as_the_question_is() -> None:
    odd = Sentence("e", "on\u00a0as\u00adpirin", (Mention((Span(3, 11),), "drug", "as\u00adpirin"),))
    answer = Prompts(PromptFile.built_in(), MARKUP, [odd]).prepare_messages("x")[2]
    assert answer.content == "on <drug>aspirin</drug>"
    assert answer.sentence == EXAMPLE
    as_is = (
        Prompts(PromptFile.built_in(), MARKUP, [odd], view="as-is").showing([odd]).prepare_messages("x")[2]
    )
    assert answer.role == as_is.role
    assert as_is.content == "on\u00a0<drug>as\u00adpirin</drug>"


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
