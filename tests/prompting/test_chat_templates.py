"""Real templates, real vocabularies: thinking off, texts never control, two readers with the same ids."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vocabularies import byte_vocabulary

from constrained_ner.annotation.annotator import Annotator
from constrained_ner.backends.fake import FakeBackend
from constrained_ner.constraint.automaton import Constraint, TagMachine
from constrained_ner.constraint.legal import LegalTokens
from constrained_ner.constraint.markup import Markup
from constrained_ner.constraint.tag_tokens import TagTokens
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.errors import PromptError
from constrained_ner.prompting.chat_template import EMPTY_THOUGHT, PLAIN_TEMPLATE, ChatTemplate
from constrained_ner.prompting.encoder import PromptEncoder
from constrained_ner.prompting.messages import Prompts
from constrained_ner.prompting.wording import PromptFile
from constrained_ner.schema import DDI
from constrained_ner.vocabulary import Vocabulary

MARKUP = Markup(DDI)
MACHINE = TagMachine(MARKUP)
CONVERSATION = ("system", "user", "assistant", "user")

VOCABULARIES = {
    "HuggingFaceTB-SmolLM3-3B": "qwen2",  # not its own, but one with its control tokens
    "Qwen-Qwen2.5-7B-Instruct": "qwen2",
    "Qwen-Qwen3-0.6B": "qwen2",
    "Qwen3.5-4B": "qwen2",
    "google-gemma-2-2b-it": "llama-spm",  # not its own
    "google-gemma-4-31B-it": "gemma-4",
    "meta-llama-Llama-3.2-3B-Instruct": "llama-bpe",
    "microsoft-Phi-3.5-mini-instruct": "phi-3",
    "mistralai-Mistral-Nemo-Instruct-2407": "llama-spm",  # not its own
}
"""Template -> the vocabulary that it is tested with."""

Source = Callable[[str], str]
LoadVocabulary = Callable[[str], Vocabulary]


@pytest.fixture(scope="module")
def source(shared: Path) -> Source:
    return lambda name: (shared / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def load(shared: Path) -> LoadVocabulary:
    """A vocabulary as llama.cpp reads it."""
    from constrained_ner.backends.llamacpp.vocabulary import load_vocabulary

    @lru_cache(maxsize=6)
    def loaded(name: str) -> Vocabulary:
        return load_vocabulary(shared / "vocab" / f"ggml-vocab-{name}.gguf")

    return loaded


def answer_ids_of(vocabulary: Vocabulary) -> Callable[[Sentence], list[int]]:
    """Tokenises answers as decoding writes them."""
    tag_tokens = TagTokens(MACHINE, vocabulary)

    def answer_ids(example: Sentence) -> list[int]:
        constraint = Constraint(example.text, MACHINE, leading_space=vocabulary.leading_space)
        return [i for i, _ in LegalTokens(constraint, tag_tokens).encode(example.mentions)][:-1]

    return answer_ids


def encoder(template: str, vocabulary: Vocabulary, *examples: Sentence) -> PromptEncoder:
    file = PromptFile(sysprompt=("Mark the names.",), usrprompt=("{sentence}",))
    return PromptEncoder(Prompts(file, MARKUP, examples), vocabulary, template, answer_ids_of(vocabulary))


def drug_in(text: str, name: str, sentence_id: str = "e") -> Sentence:
    start = text.index(name)
    mention = Mention((Span(start, start + len(name)),), "drug", name)
    return Sentence(sentence_id, text, (mention,))


# ---- what a template writes


def test_the_list_of_templates_is_whole(shared: Path) -> None:
    assert {path.stem for path in (shared / "chat_templates").glob("*.jinja")} == set(VOCABULARIES)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_every_template_shows_every_message_once(name: str, source: Source) -> None:
    pieces = ChatTemplate(source(name), byte_vocabulary()).render(CONVERSATION)
    numbers = [piece for piece in pieces if isinstance(piece, int)]
    assert sorted(numbers) == [0, 1, 2, 3]
    assert [n for n in numbers if n] == [1, 2, 3]
    assert [isinstance(piece, str) for piece in pieces] == [n % 2 == 0 for n in range(len(pieces))]


OPENINGS = {
    "HuggingFaceTB-SmolLM3-3B": "<|im_start|>assistant\n<think>\n\n</think>\n",
    "Qwen-Qwen2.5-7B-Instruct": "<|im_start|>assistant\n",
    "Qwen-Qwen3-0.6B": "<|im_start|>assistant\n<think>\n\n</think>\n\n",
    "Qwen3.5-4B": "<|im_start|>assistant\n<think>\n\n</think>\n\n",
    "google-gemma-2-2b-it": "<start_of_turn>model\n",
    "google-gemma-4-31B-it": "<|turn>model\n<|channel>thought\n<channel|>",
    "meta-llama-Llama-3.2-3B-Instruct": "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "microsoft-Phi-3.5-mini-instruct": "<|assistant|>\n",
    "mistralai-Mistral-Nemo-Instruct-2407": "[/INST]",
}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_nothing_is_left_to_think_of_where_an_answer_begins(name: str, source: Source) -> None:
    assert str(ChatTemplate(source(name), byte_vocabulary()).render(CONVERSATION)[-1]).endswith(
        OPENINGS[name]
    )


TURNS = (
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}PAST{% endif %}{{ m.content }}\n"
    "{% endfor %}"
)


@pytest.mark.parametrize(
    ("past", "opening", "written"),
    [
        ("", "<assistant>", "<assistant>"),
        ("", "<assistant><think>\n", f"<assistant>{EMPTY_THOUGHT}"),  # DeepSeek-R1 and QwQ
        ("{# split('</think>') #}", "<assistant>", f"<assistant>{EMPTY_THOUGHT}"),
        ("{# </think> #}{% if enable_thinking %}{% endif %}", "<assistant>", "<assistant>"),
        ("<|channel|>final<|message|>", "<assistant>", "<assistant><|channel|>final<|message|>"),  # gpt-oss
        (" ", "<assistant>", "<assistant>"),  # a blank is the answer's own
    ],
)
def test_thinking_is_turned_off(past: str, opening: str, written: str) -> None:
    template = TURNS.replace("PAST", past) + "{% if add_generation_prompt %}" + opening + "{% endif %}"
    pieces = ChatTemplate(template, byte_vocabulary()).render(["user"])
    assert pieces[-1] == "\n" + written


@pytest.mark.parametrize("name", VOCABULARIES)
def test_the_texts_are_where_transformers_puts_them(name: str, source: Source) -> None:
    """The reference: transformers renders the same messages, with the texts in their places."""
    from transformers.utils.chat_template_utils import render_jinja_template

    vocabulary = marked_vocabulary()
    texts = ["SYSTEM", "on aspirin", "on <drug>aspirin</drug>", "Why?"]
    messages = [{"role": role, "content": t} for role, t in zip(CONVERSATION, texts, strict=True)]
    if "gemma-2" in name:  # knows no system role
        messages = [{"role": "user", "content": "SYSTEM\n\non aspirin"}, *messages[2:]]
    (expected,), _ = render_jinja_template(
        [messages],
        chat_template=source(name),
        add_generation_prompt=True,
        enable_thinking=False,
        date_string="26 Jul 2024",
        bos_token="<s>",
        eos_token="</s>",
    )
    pieces = ChatTemplate(source(name), vocabulary).render(CONVERSATION)
    assert "".join(piece if isinstance(piece, str) else texts[piece] for piece in pieces) == expected


def marked_vocabulary() -> Vocabulary:
    pieces = [bytes([byte]) for byte in range(256)] + [b"<s>", b"</s>"]
    return Vocabulary(
        pieces,
        control_ids=[256, 257],
        stop_ids=[257],
        tokenize=lambda text: list(text.encode()),
        bos_id=256,
        eos_id=257,
    )


def test_templates_may_ask_the_day_and_mark_generations() -> None:
    template = (
        "{{ strftime_now('%d %b %Y') }}{% for m in messages %}"
        "{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}|"
    )
    assert ChatTemplate(template, byte_vocabulary()).render(["user"]) == ("26 Jul 2024", 0, "|")


def test_a_template_cannot_reach_outside() -> None:
    template = "{{ messages.__class__.__mro__ }}{{ messages[0].content }}"
    with pytest.raises(PromptError, match="refuses the messages"):
        ChatTemplate(template, byte_vocabulary()).render(["user"])


# ---- ids


def control_strings(template: str, vocabulary: Vocabulary) -> list[str]:
    """All that a template has for control, and the control tokens of the vocabulary that it names."""
    own = set(re.findall(r"<[^<>\s'\"]{2,30}>|\[/?[A-Z_]+\]", template))
    spelt = {text.decode(errors="replace") for text in vocabulary.control_by_bytes if len(text) > 2}
    return sorted(own | {text for text in spelt if text in template} | {"</s>", "<s>", EMPTY_THOUGHT})


@pytest.mark.parametrize("name", VOCABULARIES)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_text_becomes_a_control_token(
    name: str, source: Source, load: LoadVocabulary, data: st.DataObject
) -> None:
    vocabulary = load(VOCABULARIES[name])
    words = st.sampled_from(
        [*control_strings(source(name), vocabulary), " ", "\n", "user", "a", "é", "<", ">"]
    )
    hostile = st.lists(words, max_size=6).map("".join)
    question, before, after = data.draw(hostile), data.draw(hostile), data.draw(hostile)
    example = drug_in(f"{before} aspirin {after}", "aspirin")
    calm = drug_in("on aspirin, daily", "aspirin")
    assert controls(encoder(source(name), vocabulary, example), question) == controls(
        encoder(source(name), vocabulary, calm), "Why?"
    )


def controls(encoded: PromptEncoder, question: str) -> list[int]:
    ids = [*encoded.prefix_ids, *encoded.ids(question)]
    assert question.encode() in encoded.vocabulary.decode(ids)
    return [i for i in ids if i in encoded.vocabulary.control_ids]


@pytest.mark.parametrize("name", VOCABULARIES)
def test_an_example_is_written_with_the_ids_of_a_question_and_its_answer(
    name: str, source: Source, load: LoadVocabulary
) -> None:
    """What a model is trained on, or writes, it meets again as an example of the next sentence."""
    vocabulary = load(VOCABULARIES[name])
    example = drug_in("Effect of aspirin on (beta-)blockers ", "aspirin")
    template = source(name)
    alone, shown = encoder(template, vocabulary), encoder(template, vocabulary, example)
    answer = answer_ids_of(vocabulary)(example)
    assert contains(shown.prefix_ids, answer)
    question = longest_common_start(alone.ids(example.text), alone.ids(example.text + "(x)"))
    assert contains(shown.prefix_ids, question[: len(vocabulary.encode(example.text))])
    first_question = [*alone.prefix_ids, *alone.ids("Why?")]
    assert vocabulary.decode(first_question).count(b"Why?") == 1


def contains(ids: tuple[int, ...], part: list[int]) -> bool:
    return any(list(ids[at : at + len(part)]) == part for at in range(len(ids)))


def longest_common_start(one: list[int], other: list[int]) -> list[int]:
    n_common = next(n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return one[:n_common]


@pytest.mark.parametrize("name", VOCABULARIES)
def test_examples_of_each_question_s_own_share_what_stands_before_them(
    name: str, source: Source, load: LoadVocabulary
) -> None:
    vocabulary = load(VOCABULARIES[name])
    examples = [drug_in(f"{n} mg of aspirin", "aspirin") for n in range(3)]
    same = encoder(source(name), vocabulary, *examples)
    file = same.prompts.file
    varying = PromptEncoder(
        Prompts(file, MARKUP, lambda question: examples), vocabulary, source(name), answer_ids_of(vocabulary)
    )
    whole = [*same.prefix_ids, *same.ids("Why?")]
    for shown in ([], examples[:1], examples):
        ids = [*varying.prefix_ids, *varying.ids("Why?", shown)]
        assert len(ids) - len(vocabulary.encode("Why?")) <= varying.n_tokens(shown)
    assert [*varying.prefix_ids, *varying.ids("Why?", examples)] == whole
    says = b"Mark the names." in vocabulary.decode(varying.prefix_ids)
    assert says or "Mistral" in name  # it writes the system's text into the last turn


@pytest.mark.parametrize(
    "name", ["gpt-2", "llama-bpe", "qwen2", "llama-spm", "phi-3"], ids=lambda name: f"vocabulary {name}"
)
def test_llama_cpp_and_transformers_give_the_same_ids(
    name: str, source: Source, load: LoadVocabulary, shared: Path
) -> None:
    pytest.importorskip("transformers")
    from gguf_tokenizers import tokenizer_of_gguf

    from constrained_ner.backends.transformers.vocabulary import vocabulary_of_tokenizer

    ours = load(name)
    theirs = vocabulary_of_tokenizer(tokenizer_of_gguf(shared / "vocab" / f"ggml-vocab-{name}.gguf"))
    templates = [source(template) for template, used in VOCABULARIES.items() if used == name]
    examples = [
        drug_in("Effect of aspirin on <|im_end|> </s>.", "aspirin", "e0"),
        drug_in("  Naïve\n\ncells: aspirin 12345 µg\t", "aspirin", "e1"),
    ]
    questions = ["Why?", " ", "don't <|eot_id|>", "α-TNF 😀 \u2581x", "<|user|>\n<s>[INST]"]
    for template in (*templates, PLAIN_TEMPLATE):
        one, other = (encoder(template, vocabulary, *examples) for vocabulary in (ours, theirs))
        assert one.prefix_ids == other.prefix_ids
        for question in questions:
            assert one.ids(question) == other.ids(question), (template[:60], question)


# ---- templates that drop or repeat the system message

DROPS_SYSTEM = """{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %} [INST] {{ m.content }}
{%- elif m.role == 'assistant' %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"""
REPEATS_SYSTEM = """{{ (messages | selectattr('role', 'equalto', 'system') | list | last).content
if messages[0].role == 'system' else '' }}{% for m in messages %}{{ m.role }}: {{ m.content }}
{% endfor %}assistant:"""


@pytest.mark.parametrize("source", [DROPS_SYSTEM, REPEATS_SYSTEM], ids=["drops", "repeats"])
def test_instructions_that_a_template_drops_or_repeats_go_into_the_first_user_turn(source: str) -> None:
    template = ChatTemplate(source, byte_vocabulary())
    assert template.misplaces_system
    for roles in (("system", "user"), CONVERSATION):
        pieces = template.render(roles)
        assert [piece for piece in pieces if isinstance(piece, int)] == list(range(len(roles)))
        assert pieces[2] == "\n\n"
    said: list[str] = []
    examples = [Sentence("e", "aspirin")]
    vocabulary = byte_vocabulary()
    backend = FakeBackend(vocabulary, chat_template=source, context_length=8000)
    Annotator(backend, examples=examples, notify=said.append)
    (note,) = said
    assert "drops or repeats the system message" in note
    prompts = Prompts(PromptFile.built_in(), MARKUP, examples)
    encoder = PromptEncoder(prompts, vocabulary, source, lambda e: vocabulary.encode(e.text))
    written = vocabulary.decode([*encoder.prefix_ids, *encoder.ids("Take iron.")]).decode()
    assert written.count("You find names") == 1
    assert written.index("You find names") < written.index("aspirin") < written.index("Take iron.")


@pytest.mark.parametrize("source", [PLAIN_TEMPLATE, "{{ messages[-1]['content'] }}"])
def test_templates_that_write_all_or_only_the_question_are_left_alone(source: str) -> None:
    assert not ChatTemplate(source, byte_vocabulary()).misplaces_system


def test_the_templates_of_the_cases(shared: Path) -> None:
    for path in (shared / "cases" / "templates").glob("*.jinja"):
        assert ChatTemplate(path.read_text(encoding="utf-8"), byte_vocabulary()).misplaces_system
