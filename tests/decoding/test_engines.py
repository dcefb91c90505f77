"""Engines of others against ours: the same sets at every step, the same answers from the same models."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random

import pytest
from hard_texts import HARD_TEXTS, random_text
from routines import run_all
from tiny_models import byte_level_tokenizer, write_gguf, write_sentencepiece_gguf, write_transformers
from vocabularies import (
    byte_level_vocabulary,
    byte_vocabulary,
    sentencepiece_vocabulary,
    tag_token_vocabulary,
)

from constrained_ner.annotation.annotator import Annotator
from constrained_ner.backends.fake import FakeBackend
from constrained_ner.backends.protocol import LogitsBackend
from constrained_ner.constraint.automaton import Constraint, TagMachine
from constrained_ner.constraint.grammars import words
from constrained_ner.constraint.legal import END, LegalTokens
from constrained_ner.constraint.markup import Markup
from constrained_ner.constraint.tag_tokens import TagTokens
from constrained_ner.data import Sentence
from constrained_ner.decoding.answer import Answer
from constrained_ner.decoding.engines import (
    Engine,
    EngineName,
    EngineTokens,
    GrammarEngine,
    Spellings,
    load_engine,
)
from constrained_ner.decoding.stepwise import stepwise
from constrained_ner.errors import ModelError, SentenceError, UserError
from constrained_ner.prompting.wording import PromptFile
from constrained_ner.schema import DDI
from constrained_ner.vocabulary import Vocabulary

MACHINE = TagMachine(Markup(DDI))
VOCABULARIES: dict[str, Callable[[], Vocabulary]] = {
    "bytes": byte_vocabulary,
    "byte-level": byte_level_vocabulary,
    "tag tokens": tag_token_vocabulary,
    "sentencepiece": sentencepiece_vocabulary,
}
ANYWHERE: list[EngineName] = ["llguidance", "xgrammar", "outlines"]  # they take any vocabulary


@cache
def tag_tokens_of(vocabulary: str) -> TagTokens:
    return TagTokens(MACHINE, VOCABULARIES[vocabulary]())


@cache
def engine_for(name: EngineName, vocabulary: str) -> tuple[Engine, Spellings]:
    spellings = Spellings(tag_tokens_of(vocabulary))
    backend = FakeBackend(tag_tokens_of(vocabulary).vocabulary)
    return load_engine(name, backend, spellings), spellings


def check_walk(
    engine: Engine, spellings: Spellings, tag_tokens: TagTokens, text: str, chance: Random
) -> None:
    """One random answer, token by token: the engine's legal set is ours before each of them."""
    leading_space = tag_tokens.vocabulary.leading_space
    constraint = Constraint(text, MACHINE, leading_space=leading_space)
    ours = LegalTokens(constraint, tag_tokens, "any")
    theirs = EngineTokens(engine, constraint, spellings)
    state, their_state = ours.start, theirs.start
    while state != END:
        legal, their_legal = ours.legal(state), theirs.legal(their_state)
        assert set(their_legal) == set(legal), f"{text!r} at {constraint_place(constraint, state)}"
        token_id = chance.choice(list(legal))
        state, their_state = legal[token_id], their_legal[token_id]
    assert their_state == END


def constraint_place(constraint: Constraint, state: tuple[int, ...]) -> list[tuple[int, int]]:
    return constraint.machine.items(state)


def is_short(text: str) -> bool:
    return len(words(Constraint(text, MACHINE))[0]) <= 7


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("name", ANYWHERE)
def test_the_legal_sets_are_ours(name: EngineName, vocabulary: str) -> None:
    engine, spellings = engine_for(name, vocabulary)
    chance = Random(20)
    texts = [*HARD_TEXTS, *(random_text(chance, 8) for _ in range(8))]
    for text in texts:
        if name != "outlines" or is_short(text):
            check_walk(engine, spellings, tag_tokens_of(vocabulary), text, chance)


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("llama_cpp")
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", byte_level_tokenizer())


def test_the_legal_sets_of_llama_cpp_are_ours(gguf: Path, tmp_path: Path) -> None:
    """Also for texts that spell control tokens: by itself llama.cpp would let them be written as such."""
    from constrained_ner.backends.llamacpp.model import LlamaModel
    from constrained_ner.backends.llamacpp.vocabulary import vocabulary_of_llama
    from constrained_ner.decoding.engines.gbnf import GbnfEngine

    chance = Random(21)
    for path in (gguf, write_sentencepiece_gguf(tmp_path / "spm.gguf")):
        model = LlamaModel(path, vocab_only=True)
        tag_tokens = TagTokens(MACHINE, vocabulary_of_llama(model))
        spellings = Spellings(tag_tokens)
        for text in [*HARD_TEXTS, *(random_text(chance, 8) for _ in range(8))]:
            check_walk(GbnfEngine(spellings, model), spellings, tag_tokens, text, chance)


# ---- whole answers


TEXTS = ["Effect of aspirin on beta-blockers. ", "", "  ", "Na\u00efve \U0001f48a <drug> & x\u0301", "a <"]
ENGINES: list[EngineName] = [*ANYWHERE, "gbnf"]


@pytest.fixture(scope="module")
def backends(gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LogitsBackend]]:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from constrained_ner.backends.llamacpp.backend import LlamaCppBackend
    from constrained_ner.backends.transformers.backend import TransformersBackend

    folder = write_transformers(tmp_path_factory.mktemp("hf"), "llama")
    found: dict[str, LogitsBackend] = {
        "gguf": LlamaCppBackend(gguf, threads=1),
        "transformers": TransformersBackend(str(folder), device="cpu", batch=2),
    }
    yield found
    for backend in found.values():
        backend.close()


def answers(backend: LogitsBackend, engine: GrammarEngine | None, tag_tokens: TagTokens) -> list[Answer]:
    def legal_sets(text: str) -> EngineTokens | LegalTokens:
        constraint = Constraint(text, MACHINE)
        return engine.start(constraint) if engine else LegalTokens(constraint, tag_tokens, "any")

    prompt = backend.vocabulary.encode("Mark the drugs: ")
    backend.prefill([])
    return list(run_all((stepwise(prompt, legal_sets(text), 500) for text in TEXTS), backend))


@pytest.mark.parametrize("kind", ["gguf", "transformers"])
def test_every_engine_gives_our_answer(backends: dict[str, LogitsBackend], kind: str) -> None:
    """Tokens, confidence and legal mass agree, and the automaton can read the answer."""
    backend = backends[kind]
    tag_tokens = TagTokens(MACHINE, backend.vocabulary)
    expected = answers(backend, None, tag_tokens)
    assert any(choice for answer in expected for choice in answer.choices)
    for text, answer in zip(TEXTS, expected, strict=True):
        assert Constraint(text, MACHINE).read(backend.vocabulary.decode(answer.token_ids)) is not None
    for name in ENGINES if kind == "gguf" else ANYWHERE:
        found = answers(backend, GrammarEngine(name, backend, tag_tokens), tag_tokens)
        assert [answer.token_ids for answer in found] == [answer.token_ids for answer in expected]
        for ours, theirs in zip(expected, found, strict=True):
            for one, other in zip(ours.choices, theirs.choices, strict=True):
                assert (one is None) == (other is None)
                if one and other:
                    assert other.log_probability == pytest.approx(one.log_probability, abs=1e-4)
                    assert other.legal_mass == pytest.approx(one.legal_mass, abs=1e-4)


# ---- the front door


def annotator(backend: LogitsBackend, **options: object) -> Annotator:
    prompt = PromptFile(sysprompt=("Mark the drugs.",), usrprompt=("{sentence}",))
    return Annotator(backend, prompt=prompt, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["llguidance", "gbnf"])
def test_an_annotator_with_an_engine(backends: dict[str, LogitsBackend], name: str) -> None:
    sentences = [Sentence(str(number), text) for number, text in enumerate(TEXTS)]
    native = annotator(backends["gguf"], decoder="stepwise", rule="any")
    expected = list(native.run(sentences))
    other = annotator(backends["gguf"], engine=name)
    chosen = other.choices()
    assert (chosen["engine"], chosen["decoder"], chosen["rule"]) == (name, "stepwise", "any")
    for ours, theirs in zip(expected, other.run(sentences), strict=True):
        assert theirs.failure is None
        assert theirs.effort.n_decisions == ours.effort.n_decisions
        for one, another in zip(ours.sentence.mentions, theirs.sentence.mentions, strict=True):
            assert (one.spans, one.type) == (another.spans, another.type)
            assert another.confidence == pytest.approx(one.confidence, abs=1e-4)


def test_a_sentence_that_an_engine_cannot_take_fails_by_itself(backends: dict[str, LogitsBackend]) -> None:
    long = " ".join(f"w{number}" for number in range(17))
    sentences = [Sentence("long", long), Sentence("nul", "nul \0"), Sentence("short", "an aspirin")]
    found = list(annotator(backends["transformers"], engine="outlines", view="as-is").run(sentences))
    assert [annotated.failure is None for annotated in found] == [False, False, True]
    assert str(found[0].failure).startswith(
        "the engine outlines cannot take this sentence: its regular expression has"
    )
    found = list(annotator(backends["gguf"], engine="gbnf", view="as-is").run(sentences))
    assert [annotated.failure is None for annotated in found] == [True, False, True]
    assert "character 4 is NUL" in str(found[1].failure)


def test_an_engine_sets_decoder_and_rule(backends: dict[str, LogitsBackend]) -> None:
    refused = {"copy-draft": {"decoder": "copy-draft"}, "--unconstrained": {"constrained": False}}
    refused["canonical"] = {"rule": "canonical"}
    for named, wrong in refused.items():
        with pytest.raises(UserError, match=f"--engine llguidance .* {named}"):
            annotator(backends["gguf"], engine="llguidance", **wrong)


def test_llama_cpps_grammars_need_a_gguf_model(backends: dict[str, LogitsBackend]) -> None:
    with pytest.raises(ModelError, match="needs a GGUF model"):
        annotator(backends["transformers"], engine="gbnf")


class Wrong:
    """An engine that allows every byte."""

    dialect = "lark"

    def start(self, grammar: str) -> Wrong:
        return self

    def legal_ids(self) -> list[int]:
        return list(range(256))

    def accept(self, token_id: int) -> None:
        pass


def test_an_engine_that_allows_too_much_is_found_out() -> None:
    tag_tokens = tag_tokens_of("bytes")
    tokens = EngineTokens(Wrong(), Constraint("x", MACHINE), Spellings(tag_tokens))
    with pytest.raises(SentenceError, match=r"the engine allows token 0 \(b'\\x00'\), which is not legal"):
        tokens.legal(tokens.start)


@pytest.mark.parametrize(
    ("module", "package"), [("llguidance", "llguidance"), ("xgrammar", "xgrammar"), ("outlines", "outlines")]
)
def test_a_missing_engine_says_how_to_install_it(module: str, package: str) -> None:
    name = {"outlines": "outlines_core"}.get(module, module)
    command = f"import sys; sys.modules['{name}'] = None\nimport constrained_ner.decoding.engines.{module}"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert f"{package} is not installed: pip install 'constrained-ner[engines]'" in done.stderr


def test_engines_are_imported_when_asked_for() -> None:
    command = (
        "import sys, constrained_ner.annotation.annotator, constrained_ner.integrations.logits_processor\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert not {"llguidance", "xgrammar", "outlines", "outlines_core", "torch", "llama_cpp"} & {*loaded}


def test_the_command_line(tmp_path: Path) -> None:
    """The bundled model with another engine; options that do not go together are one line."""
    bin_ner = Path(__file__).parents[2] / "bin" / "llm-NERC"
    sample = Path(__file__).parents[2] / "examples" / "sample.xml"

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, bin_ner, sample, tmp_path / "out", "--limit", "2", "--threads", "1"]
        return subprocess.run([*command, *options], capture_output=True, text=True, check=False)

    refused = run("--engine", "llguidance", "--decoder", "copy-draft")
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: --engine llguidance decodes stepwise; it cannot be combined with copy-draft\n",
    )
    assert run("--engine", "llguidance").returncode == 0
    record = json.loads((tmp_path / "out.run.json").read_text())
    assert record["options"]["engine"] == "llguidance"
    assert (record["options"]["decoder"], record["options"]["rule"]) == ("stepwise", "any")
    assert "llguidance" in record["versions"]
    written = (tmp_path / "out").read_text()
    (tmp_path / "out").unlink()
    assert run("--decoder", "stepwise", "--rule", "any").returncode == 0
    assert (tmp_path / "out").read_text() == written
