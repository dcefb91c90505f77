"""bin/evaluate and bin/calibrate as a user meets them, on what a tiny model wrote for the sample."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import run_command
from tiny_models import byte_level_tokenizer, write_gguf

from constrained_ner.backends.temperature import store_temperature
from constrained_ner.cli import annotate, calibrate, evaluate
from constrained_ner.decoding.confidence import WORTH_KEEPING, reaches
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.formats.evaluator_lines import format_offsets, read_predictions
from constrained_ner.formats.mentions import mentions_path, read_mentions

SAMPLE = Path(__file__).parents[2] / "examples" / "sample.xml"
COMMANDS = {"llm-NERC": annotate.main, "evaluate": evaluate.main, "calibrate": calibrate.main}


def run(command: str, *arguments: object) -> int:
    return run_command(COMMANDS[command], *arguments)


ALONE = ("--no-consistency", "--min-confidence", 0)


def annotate_sample(out: Path, model: Path, *options: object) -> int:
    """Each sentence judged by itself, and everything kept, unless the options say otherwise."""
    of_model = ("--model", model, "--context", 2048, "--threads", 1)
    return run("llm-NERC", SAMPLE, out, *of_model, "-q", *ALONE, *options)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf", byte_level_tokenizer())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """What the model wrote, and beside it what is known of each mention."""
    out = tmp_path_factory.mktemp("run") / "out"
    assert annotate_sample(out, model) == 0
    return out


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory, written: Path) -> Path:
    """The sample with every second of these mentions as its entities."""
    found: dict[str, list[str]] = {}
    for sentence_id, mention in read_predictions(written)[::2]:
        offsets = f'charOffset="{format_offsets(mention.spans)}"'
        found.setdefault(sentence_id, []).append(f'<entity id="e" {offsets} type="{mention.type}"/>')
    lines = [
        f'<sentence id="{s.id}" text="{attribute(s.text)}">{"".join(found.get(s.id, []))}</sentence>'
        for document in read_ddi(SAMPLE)
        for s in document
    ]
    path = tmp_path_factory.mktemp("gold") / "gold.xml"
    path.write_text(f"<document>{''.join(lines)}</document>")
    return path


def attribute(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return "".join(f"&#{ord(c)};" if c in "\r\n\t" else c for c in escaped)


def test_the_mentions_file_says_what_the_output_says_and_more(written: Path) -> None:
    mentions, lines = read_mentions(mentions_path(written)), read_predictions(written)
    assert [(i, m.spans, m.type) for i, m in mentions] == [(i, m.spans, m.type) for i, m in lines]
    assert len(mentions) > 20
    for _, mention in mentions:
        assert mention.confidence is not None
        assert 0 <= mention.confidence <= 1
        assert mention.provenance == "constrained"
    record = json.loads(Path(f"{written}.run.json").read_text())
    assert record["mentions"] == str(mentions_path(written))
    assert record["options"]["temperature"] is None  # not calibrated


def test_everything_at_once(
    tmp_path: Path, gold: Path, written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.write_text("".join(written.read_text().splitlines(keepends=True)[::2]))
    options = ("--errors", "--semeval", "--intervals", "--calibration", "--curve", "--against", other)
    files = ("--plot", tmp_path / "figure.png", "--json", tmp_path / "figures.json")
    assert run("evaluate", gold, written, *options, *files) == 0
    said = capsys.readouterr()
    assert said.err == ""
    for heading in ("m.avg(no class)", "SemEval-2013", "errors by kind", "F1 with 95 % intervals", "ECE 0."):
        assert heading in said.out
    assert f"F1 above that of {other}" in said.out
    plain = json.loads((tmp_path / "figures.json").read_text())
    assert {"micro", "semeval", "errors", "intervals", "against", "calibration", "curve"} <= plain.keys()
    assert plain["micro"]["recall"] == 1
    assert plain["against"]["micro"][0] < 0
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_official_table_stands_first_and_alone_without_options(
    gold: Path, written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", gold, written) == 0
    alone = capsys.readouterr().out
    assert run("evaluate", gold, written, "--errors") == 0
    assert capsys.readouterr().out.startswith(alone)


def test_a_temperature_is_fitted_stored_and_used(
    tmp_path: Path, gold: Path, written: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copy(model, tmp_path / "copy.gguf")
    assert run("calibrate", gold, written, "--store", copy) == 0
    said = capsys.readouterr()
    temperature = float(said.out.split()[1])
    assert temperature != 1.0
    assert f"stored in {copy}" in said.err
    assert annotate_sample(tmp_path / "out", copy) == 0
    assert (tmp_path / "out").read_bytes() == written.read_bytes()
    assert json.loads((tmp_path / "out.run.json").read_text())["options"]["temperature"] == pytest.approx(
        temperature
    )
    before, after = (
        sum(m.confidence or 0 for _, m in read_mentions(mentions_path(out)))
        for out in (written, tmp_path / "out")
    )
    assert (after < before) == (temperature > 1)
    assert run("calibrate", gold, tmp_path / "out") == 0
    assert capsys.readouterr().out == said.out  # the fit starts from the margins, not from the confidences


def test_less_sure_mentions_are_left_out_of_both_files(tmp_path: Path, written: Path, model: Path) -> None:
    confidences = sorted(m.confidence or 0 for _, m in read_mentions(mentions_path(written)))
    least = confidences[len(confidences) // 2]
    assert annotate_sample(tmp_path / "out", model, "--min-confidence", least) == 0
    kept = read_mentions(mentions_path(tmp_path / "out"))
    assert 0 < len(kept) < len(confidences)
    assert all((m.confidence or 0) >= least - 1e-6 for _, m in kept)
    assert len(kept) == len((tmp_path / "out").read_text().splitlines())
    record = json.loads((tmp_path / "out.run.json").read_text())
    assert record["options"]["min_confidence"] == least
    assert record["effort"]["n_doubtful"] == len(confidences) - len(kept)


def test_a_bias_changes_what_is_found_for_every_decoder_alike(
    tmp_path: Path, written: Path, model: Path
) -> None:
    for decoder in ("copy-draft", "stepwise"):
        options = ("--bias", "drug_n=+4", "--bias", "drug=-1", "--decoder", decoder)
        assert annotate_sample(tmp_path / decoder, model, *options) == 0
        record = json.loads((tmp_path / f"{decoder}.run.json").read_text())
        assert record["options"]["bias"] == {"drug_n": 4.0, "drug": -1.0}
    assert (tmp_path / "copy-draft").read_bytes() == (tmp_path / "stepwise").read_bytes()
    n_found = [out.read_text().count("|drug_n\n") for out in (written, tmp_path / "stepwise")]
    assert n_found[0] < n_found[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--bias", "disease=1"), "bias for 'disease': the schema's types are"),
        (("--bias", "drug"), "bias 'drug' is not of the form TYPE=NUMBER"),
        (("--min-confidence", "0.5", "--unconstrained"), "needs a constrained decoder"),
    ],
)
def test_options_that_cannot_be_are_one_line(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert annotate_sample(tmp_path / "out", model, *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def one_line(capsys: pytest.CaptureFixture[str], start: str) -> str:
    error = capsys.readouterr().err
    assert error.startswith(start)
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("option", ["--calibration", "--curve"])
def test_without_a_mentions_file_it_says_how_to_get_one(
    tmp_path: Path, gold: Path, written: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    shutil.copy(written, tmp_path / "out")
    assert run("evaluate", gold, tmp_path / "out", option) == 2
    error = one_line(capsys, f"error: {tmp_path / 'out.mentions.jsonl'}: no such file")
    assert "llm-NERC writes it" in error


def test_a_mentions_file_of_another_output_is_refused(
    tmp_path: Path, gold: Path, written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text(written.read_text().split("\n", 1)[1])
    shutil.copy(mentions_path(written), tmp_path / "out.mentions.jsonl")
    assert run("evaluate", gold, tmp_path / "out", "--calibration") == 2
    one_line(capsys, f"error: {tmp_path / 'out.mentions.jsonl'}: does not belong to")


def test_free_answers_have_no_confidence(
    tmp_path: Path, gold: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("s|0-3|iron|drug\n")
    line = {"sentence": "s", "start": 0, "end": 4, "text": "iron", "type": "drug", "provenance": "exact"}
    (tmp_path / "out.mentions.jsonl").write_text(json.dumps(line) + "\n")
    assert run("evaluate", gold, tmp_path / "out", "--calibration") == 2
    assert "1 of 1 mentions have no confidence" in capsys.readouterr().err


def test_a_plot_of_nothing_is_refused(tmp_path: Path, gold: Path, written: Path) -> None:
    assert run("evaluate", gold, written, "--plot", tmp_path / "figure.png") == 2
    assert not list(tmp_path.iterdir())


def test_files_that_hardly_belong_together_are_warned_of(
    tmp_path: Path, gold: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("nowhere.s0|0-3|iron|drug\n")
    assert run("evaluate", gold, tmp_path / "out") == 0
    assert "1 of 1 lines name sentences that are not in" in one_line(capsys, "warning: ")
    bare = tmp_path / "bare.xml"
    bare.write_text('<document><sentence id="nowhere.s0" text="iron"/></document>')
    options = ("--errors", "--semeval", "--intervals")
    assert run("evaluate", bare, tmp_path / "out", *options) == 0
    assert "no entities, so every prediction counts as wrong" in one_line(capsys, f"warning: {bare}")


def test_calibrating_on_gold_without_entities_is_refused(
    tmp_path: Path, written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare.xml"
    bare.write_text('<document><sentence id="s" text="iron"/></document>')
    assert run("calibrate", bare, written) == 2
    one_line(capsys, f"error: {bare}: no entities")


@pytest.mark.parametrize("options", [("--consistency",), ("--min-confidence", 0.2)])
def test_calibrating_on_what_was_judged_already_is_refused(
    tmp_path: Path, gold: Path, model: Path, capsys: pytest.CaptureFixture[str], options: tuple[object, ...]
) -> None:
    assert annotate_sample(tmp_path / "out", model, *options) == 0
    assert run("calibrate", gold, tmp_path / "out") == 2
    assert "run llm-NERC again with --no-consistency" in one_line(
        capsys, f"error: {tmp_path / 'out'}: mentions were left out"
    )


def test_a_calibrated_model_leaves_out_what_is_not_worth_keeping(tmp_path: Path, model: Path) -> None:
    copy = shutil.copy(model, tmp_path / "copy.gguf")
    store_temperature(copy, 1.5)
    of_model = ("--model", copy, "--context", 2048, "--threads", 1, "-q")
    assert run("llm-NERC", SAMPLE, tmp_path / "out", *of_model) == 0
    options = json.loads((tmp_path / "out.run.json").read_text())["options"]
    assert (options["min_confidence"], options["consistency"]) == (WORTH_KEEPING, True)
    kept = read_mentions(mentions_path(tmp_path / "out"))
    assert kept
    assert all(reaches(m.confidence or 0, WORTH_KEEPING) for _, m in kept)


def test_the_first_sentences_alone(
    tmp_path: Path, gold: Path, written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As if gold and output ended there."""
    figures = tmp_path / "figures.json"
    assert run("evaluate", gold, written, "--limit", 5, "--calibration", "--json", figures) == 0
    assert capsys.readouterr().err == ""
    plain = json.loads(figures.read_text())
    first = {s.id for document in read_ddi(gold) for s in document.sentences[:5]}
    n_first = sum(sentence_id in first for sentence_id, _ in read_predictions(written))
    assert plain["micro"]["n_predicted"] == plain["calibration"]["n"] == n_first > 0
    assert plain["micro"]["recall"] == 1
