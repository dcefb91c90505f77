"""The options, declared once: their help, their bounds, and where they turn up."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from commands import run_command
from vocabularies import byte_vocabulary

from constrained_ner import Annotator
from constrained_ner.annotation import settings as module
from constrained_ner.annotation.option import Panel
from constrained_ner.annotation.settings import Settings, field_types, options_by_name
from constrained_ner.backends.fake import FakeBackend
from constrained_ner.cli import ablate, annotate, options
from constrained_ner.data import Document, Sentence
from constrained_ner.errors import UserError
from constrained_ner.prompting.wording import PromptFile
from constrained_ner.runs.job import annotate_file
from constrained_ner.runs.journal import fingerprint
from constrained_ner.runs.source import Input
from constrained_ner.schema import DDI

NAMES = [field.name for field in dataclasses.fields(Settings)]
TEMPLATE = "{{ messages[-1]['content'] }}<end>"


def parameters(command: Any) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(command).parameters)


# ---- declared once


@pytest.mark.parametrize("name", NAMES)
def test_every_field_has_help_and_a_panel_and_is_an_option(name: str) -> None:
    option = options_by_name()[name]
    assert option.help
    assert option.help.endswith(".")
    assert option.panel in get_args(Panel)
    declared = get_args(parameters(annotate.annotate)[name].annotation)[1]
    assert declared.help == option.help
    assert declared.rich_help_panel == option.panel
    # In an annotation, typer takes the first name for the default.
    assert declared.default.split("/")[0] == f"--{name.replace('_', '-')}"


def test_the_command_has_the_fields_and_nothing_that_should_be_one() -> None:
    files = ["input", "output", "from_format", "to", "text_field", "id_field", "columns", "types"]
    own = ["split", "limit", "workers", "ray", "cpus_per_model", "gpus_per_model"]
    own += ["skip_bad", "overwrite", "quiet"]
    assert sorted(parameters(annotate.annotate)) == sorted([*NAMES, *files, *own])


def test_a_grid_lists_what_it_varies_and_takes_the_rest() -> None:
    own = {"input", "out", "arms", "model", "shots", "select", "prompt", "decoder", "engine", "lexicon"}
    fixed = {"constrained", "consistency", "min_confidence"}
    run = {"limit", "split", "workers", "overwrite", "quiet"}
    assert set(parameters(ablate.ablate)) == set(NAMES) - fixed | own | run


def test_a_new_field_is_an_option_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class More(Settings):
        colour: module.Annotated[str, module.Option("The colour of names.", "Output", decides=True)] = "red"

    def clear() -> None:
        for made in (options_by_name, field_types, module._adapters):
            made.cache_clear()

    monkeypatch.setattr(module, "Settings", More)
    monkeypatch.setattr(options, "Settings", More)
    clear()
    try:
        assert [p.name for p in options._parameters()] == [*NAMES, "colour"]
        assert More(colour="blue").deciding()["colour"] == "blue"
    finally:
        clear()


def test_keywords_are_fields() -> None:
    for name in ("decode", "Model", "notify_me"):
        with pytest.raises(TypeError, match=name):
            Annotator.load(**{name: 1})
    with fake_annotator(min_confidence=0.5, boundary="char") as ner:
        assert (ner.settings.min_confidence, ner.settings.boundary) == (0.5, "char")
    with fake_annotator(Settings(boundary="char", rule="any"), rule="canonical") as ner:
        assert (ner.settings.boundary, ner.settings.rule) == ("char", "canonical")


SAMPLE = Path(__file__).parents[2] / "examples" / "sample.xml"


def fake_annotator(settings: Settings | None = None, **chosen: Any) -> Annotator:
    return Annotator(FakeBackend(byte_vocabulary(), chat_template=TEMPLATE), settings, **chosen)


# ---- checked at once


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("batch", 0), ("context", 63), ("threads", 0), ("timeout", 0.0), ("shots", -1)),
        *(("max_prompt_tokens", 0), ("min_confidence", 1.01), ("min_confidence", -0.01)),
        *(("min_confidence", float("nan")), ("bias", {"drug": float("inf")}), ("bias", {"drug": "much"})),
        *(("lexicon", 3), ("lexicon_weight", {"typo": 1}), ("lexicon_weight", ["type=much"])),
        *(("decoder", "unconstrained"), ("rule", "some"), ("engine", "magic"), ("boundary", "letter")),
        *(("quantize", "2bit"), ("device", "tpu"), ("server", "mine"), ("instructions", "twice")),
        *(("threads", "many"), ("strict", "maybe"), ("model", 3), ("names", 3)),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_option(name: str, value: object) -> None:
    with pytest.raises(UserError) as caught:
        Settings(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert repr(value)[:60] in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        *(
            (("--threads", "0"), "--threads"),
            (("--context", "63"), "--context"),
            (("--shots", "-1"), "--shots"),
        ),
        *((("--batch", "0"), "--batch"), (("--min-confidence", "1.5"), "--min-confidence")),
        *((("--decoder", "magic"), "--decoder"), (("--boundary", "letter"), "--boundary")),
        *((("--timeout", "0"), "--timeout"), (("--quantize", "2bit"), "--quantize")),
        (("--bias", "drug=much"), "TYPE=NUMBER"),
    ],
)
def test_the_command_line_refuses_it_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: Sequence[str], named: str
) -> None:
    assert run_command(annotate.main, "in.xml", tmp_path / "out", *typed) == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_settings_do_not_change() -> None:
    settings = Settings(rule="any")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.rule = "canonical"  # type: ignore[misc]
    assert dataclasses.replace(settings, threads=2).rule == "any"


def test_text_becomes_what_it_means() -> None:
    settings = Settings(bias=["drug=+0.5"], schema="own.json", names="n.txt", examples="e.xml", threads="2")  # type: ignore[arg-type]
    assert settings.bias == {"drug": 0.5}
    assert (settings.schema, settings.names, settings.examples) == (
        Path("own.json"),
        Path("n.txt"),
        Path("e.xml"),
    )
    assert settings.threads == 2


def test_objects_stay_the_objects_that_they_are() -> None:
    class Chooses:
        def __call__(self, question: str) -> Sequence[Sentence]:
            return ()

        def hash(self) -> str:
            return ""

    chooser, prompt = Chooses(), PromptFile.built_in()
    settings = Settings(examples=chooser, schema=DDI, prompt=prompt, names=(("aspirin", "drug"),))
    assert settings.examples is chooser
    assert settings.schema is DDI
    assert settings.prompt is prompt
    assert settings.names == (("aspirin", "drug"),)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"decoder": "copy-draft"}, "decodes stepwise; it cannot be combined with copy-draft"),
        ({"constrained": False}, "decodes stepwise; it cannot be combined with --unconstrained"),
        ({"rule": "canonical"}, "has the rule any; it cannot be combined with canonical"),
        ({"bias": {"drug": 1.0}}, "takes no bias; use --engine native"),
        ({"lexicon": "public"}, "takes no lexicon; use --engine native"),
    ],
)
def test_what_an_engine_cannot_do_is_known_before_a_model_is_loaded(
    chosen: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=f"--engine llguidance {message}"):
        Settings(engine="llguidance", **chosen)


# ---- what decides


EVERY: dict[str, Any] = {
    **{
        "model": "m.gguf",
        "backend": "llamacpp",
        "precision": "float32",
        "adapter": "a",
        "lora": "l.gguf",
        "merge": False,
        "force": True,
    },
    **{"quantize": "4bit", "device": "cpu", "batch": 3, "context": 512, "threads": 2},
    **{"extra_buffers": True, "trust_remote_code": True, "base_url": "http://x", "server": "vllm"},
    **{"timeout": 3.0, "schema": Path("s.json"), "answer": "list", "occurrences": True, "prompt": "guide"},
    **{"view": "as-is", "instructions": "each"},
    "shots": 2,
    **{"examples": Path("e.xml"), "select": "first", "seed": 7, "max_prompt_tokens": 100},
    **{"constrained": False, "decoder": "stepwise", "rule": "any", "engine": "llguidance"},
    **{"boundary": "char", "names": Path("n.txt"), "lexicon": "public"},
    **{"lexicon_weight": {"type": 5.0}, "legal_mass": True, "bias": {"drug": 0.5}},
    **{"operating_point": "auto", "fit": 5},
    **{"consistency": True, "min_confidence": 0.25, "strict": True},
}
DECIDING = {
    *(
        "merge",
        "quantize",
        "answer",
        "occurrences",
        "view",
        "instructions",
        "max_prompt_tokens",
        "constrained",
        "decoder",
        "rule",
        "engine",
    ),
    *("boundary", "lexicon_weight", "bias", "consistency", "min_confidence", "strict"),
}


def test_what_decides_is_plain_data_and_each_value_another_run() -> None:
    assert list(EVERY) == NAMES
    plain = Settings(decoder="stepwise").deciding()
    assert set(plain) == DECIDING
    assert json.loads(json.dumps(plain)) == plain
    for name, value in EVERY.items():
        if name in ("engine", "bias"):  # which do not go together
            settings = Settings(**{name: value})
        else:
            settings = Settings(**{"decoder": "stepwise", name: value})
        changed = settings.deciding()
        assert json.loads(json.dumps(changed)) == changed
        assert (changed != plain) == (name in DECIDING - {"decoder"}), name
    assert Settings().deciding() != plain


def test_threads_batch_and_paths_do_not_change_a_fingerprint(tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text(DDI.model_dump_json())
    prompt = tmp_path / "plain.json"
    prompt.write_text(PromptFile.built_in().model_dump_json())
    documents = [Document("d", (Sentence("s", "aspirin"),))]
    marks = {
        fingerprint(fake_annotator(**chosen).identity(), documents)
        for chosen in (
            {},
            {"threads": 3},
            {"batch": 7},
            {"timeout": 3.0},
            {"model": "elsewhere.gguf"},
            {"schema": own},
            {"schema": DDI},
            {"prompt": str(prompt)},
            {"names": (("aspirin", "drug"),)},
            {"decoder": "copy-draft"},  # the default, said
            {"rule": "canonical"},
            {"min_confidence": 0.0},
            {"lexicon": "none"},
            {"lexicon": "none", "lexicon_weight": {"type": 1.0}},  # of no lexicon
        )
    }
    assert len(marks) == 1
    others = [
        fake_annotator(**chosen)
        for chosen in (
            *({"rule": "any"}, {"bias": {"drug": 1.0}}, {"boundary": "char"}, {"strict": True}),
            *({"lexicon": "public"}, {"lexicon": (("aspirin", "drug"),)}),
            {"lexicon": "public", "lexicon_weight": {"type": 1.0}},
        )
    ]
    assert len(marks | {fingerprint(ner.identity(), documents) for ner in others}) == 8


def test_choices_are_plain_data_with_all_that_was_chosen(tmp_path: Path) -> None:
    choices = fake_annotator(threads=3, bias={"drug": 1.0}).choices()
    assert json.loads(json.dumps(choices)) == choices
    assert (choices["bias"], choices["decoder"]) == ({"drug": 1.0}, "copy-draft")
    assert choices.keys() >= DECIDING
    record = annotate_file(
        Input(SAMPLE, limit=2),
        tmp_path / "out",
        Settings(threads=3, names=()),
        open_annotator=lambda settings, notify: fake_annotator(settings=settings),
    )
    assert record.options["threads"] == 3


def test_a_back_end_gets_its_own_options_and_no_others() -> None:
    given = Settings(threads=2, rule="any", model="m.gguf").model_options()
    assert {name: value for name, value in given.items() if value is not None} == {
        "backend": "auto",
        "threads": 2,
    }
    assert set(given) == {
        *(
            "backend",
            "precision",
            "adapter",
            "lora",
            "merge",
            "quantize",
            "device",
            "batch",
            "context",
            "threads",
        ),
        *("extra_buffers", "trust_remote_code", "base_url", "server", "timeout"),
    }
