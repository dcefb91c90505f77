"""Grids of runs: which arms there are, what is repeated and what is not, and the table at the end."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import run_command
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import byte_level_tokenizer, write_gguf

from constrained_ner.annotation import annotator as annotating
from constrained_ner.annotation.annotator import Annotator, Backend, Notify
from constrained_ner.annotation.settings import Settings
from constrained_ner.backends import cache_size
from constrained_ner.cli import ablate as command
from constrained_ner.errors import InputError, UserError
from constrained_ner.experiments.grid import Outcome, grid, run_grid
from constrained_ner.experiments.measures import Measure
from constrained_ner.experiments.table import Table, markdown_text
from constrained_ner.runs.record import RunRecord

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "sample.xml"
SETTINGS = ("--context", "2048", "--threads", "1", "--quiet")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf", byte_level_tokenizer())


def run(*arguments: object) -> int:
    return run_command(command.main, *arguments)


def arms_in(folder: Path) -> dict[str, dict[str, object]]:
    """The table's figures by arm, without the seconds: they are never the same twice."""
    arms = json.loads((folder / "ablation.json").read_text(encoding="utf-8"))["arms"]
    return {
        arm["name"]: {key: figure for key, figure in arm["measures"].items() if key != "seconds"}
        for arm in arms
    }


# ---- the grid


BOTH = (True, False)


def test_combinations_that_come_to_the_same_are_one_arm() -> None:
    arms = grid(Settings(), shots=[0, 5], select=["random", "similar"], constrained=BOTH)
    assert [(a.chosen["constrained"], a.chosen["shots"], a.chosen["select"]) for a in arms] == [
        (True, 0, None),
        (False, 0, None),
        (True, 5, "random"),
        (False, 5, "random"),
        (True, 5, "similar"),
        (False, 5, "similar"),
    ]
    for arm in arms:
        expected = {name: value for name, value in arm.chosen.items() if value is not None}
        assert {name: getattr(arm.settings, name) for name in expected} == expected


def test_engines_are_for_constrained_arms_and_decode_stepwise() -> None:
    engines = ["native", "llguidance"]
    arms = grid(Settings(), constrained=BOTH, decoder=["copy-draft"], engine=engines)
    assert [(a.settings.constrained, a.settings.decoder, a.settings.engine) for a in arms] == [
        (True, "copy-draft", "native"),
        (True, "stepwise", "llguidance"),
        (False, None, "native"),
    ]


def test_arms_differ_in_what_is_compared_and_in_nothing_after_it() -> None:
    for arm in grid(Settings(consistency=True, min_confidence=0.9, threads=1), constrained=BOTH):
        assert (arm.settings.consistency, arm.settings.min_confidence) == (False, 0.0)
        assert arm.settings.threads == 1


def test_any_field_can_be_varied() -> None:
    arms = grid(Settings(), rule=["canonical", "any"], boundary=["word", "char"])
    assert [(a.settings.rule, a.settings.boundary) for a in arms] == [
        ("canonical", "word"),
        ("canonical", "char"),
        ("any", "word"),
        ("any", "char"),
    ]
    assert len({a.name for a in arms}) == 4
    for arm in arms:
        assert f"rule-{arm.settings.rule}" in arm.name
        assert f"boundary-{arm.settings.boundary}" in arm.name


@given(
    models=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3, unique=True),
    prompts=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3, unique=True),
    shots=st.lists(st.integers(0, 20), min_size=1, max_size=3, unique=True),
    selects=st.lists(
        st.sampled_from(["random", "similar", "a/ids.txt", "b/ids.txt"]), min_size=1, unique=True
    ),
)
def test_arms_are_distinct_and_their_names_too_and_fit_for_files(
    models: list[str], prompts: list[str], shots: list[int], selects: list[str]
) -> None:
    arms = grid(Settings(), prompt=prompts, shots=shots, model=models, select=selects, constrained=BOTH)
    assert len({json.dumps(arm.chosen, sort_keys=True) for arm in arms}) == len(arms)
    kinds = len(models) * len(prompts) * 2
    assert len(arms) == kinds * sum(len(selects) if n else 1 for n in shots)
    names = [arm.name for arm in arms]
    assert len(set(names)) == len(arms)
    for name in names:
        assert name == Path(name).name
        assert not name.startswith(".")
        assert name.isprintable()
    used = [arm.settings.model for arm in arms]
    assert used == sorted(used, key=[*models].index)  # one load each


def test_names_hold_what_varies() -> None:
    def names(**values: object) -> list[str]:
        return [arm.name for arm in grid(Settings(), **values)]  # type: ignore[arg-type]

    assert names(constrained=BOTH, decoder=["copy-draft"]) == ["constrained", "unconstrained"]
    assert names(
        prompt=["plain", "my/guide.json"], shots=[0, 5], constrained=[True], decoder=["copy-draft"]
    ) == [
        "plain-0-shots",
        "plain-5-shots",
        "guide-0-shots",
        "guide-5-shots",
    ]
    assert names(decoder=["copy-draft"]) == ["constrained"]
    assert names() == ["constrained"]


# ---- running it


def test_the_table_is_printed_and_saved_and_is_that_of_the_runs(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "grid"
    assert run(SAMPLE, "--out", out, "--model", model, "--limit", 4, *SETTINGS) == 0
    printed = capsys.readouterr().out
    for label in ("micro F1", "macro F1", "drug", "Δ micro F1", "verbatim %", "fuzzy %", "unknown tags"):
        assert label in printed
    for label in ("invented names", "unfinished", "s/sentence", "passes/sentence", "prompt tokens"):
        assert label in printed
    arms = arms_in(out)
    assert list(arms) == ["constrained", "unconstrained"]
    assert arms["constrained"]["micro_difference"] == {"value": None}
    difference = arms["unconstrained"]["micro_difference"]
    assert isinstance(difference, dict)
    assert difference["low"] <= difference["value"] <= difference["high"]
    assert arms["constrained"]["verbatim"] == {"value": 1.0}
    assert arms["unconstrained"]["verbatim"] == {"value": 0.0}  # random weights
    record = RunRecord.load(out / "unconstrained.out.run.json")
    assert arms["unconstrained"]["unfinished"] == {"value": record.effort["n_unfinished"]}
    assert record.effort["n_prompt_tokens"] > 4
    with (out / "ablation.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(arms)
    assert float(rows[1]["micro_difference_low"]) == difference["low"]
    assert (out / "ablation.md").read_text(encoding="utf-8").count("\n") == 4


def test_a_model_is_loaded_once_and_finished_arms_are_kept(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = []
    load = annotating.load_backend

    def counted(*arguments: object, **options: object) -> object:
        opened.append(arguments)
        return load(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(annotating, "load_backend", counted)
    arguments = (SAMPLE, "--out", tmp_path / "grid", "--model", model, *SETTINGS)
    assert run(*arguments, "--limit", 3, "--decoder", "copy-draft,stepwise") == 0
    assert len(opened) == 1
    outputs = sorted((tmp_path / "grid").glob("*.out*"))
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in outputs}
    assert len(before) == 3 * 3  # output, mentions and record of each arm
    assert run(*arguments, "--limit", 3, "--decoder", "copy-draft,stepwise") == 0
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in outputs}
    # An arm with another option is not that arm, and replaces it only if asked to.
    assert run(*arguments, "--limit", 2, "--decoder", "copy-draft,stepwise") == 2
    assert "holds the result of another run" in capsys.readouterr().err
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in outputs}
    assert run(*arguments, "--limit", 2, "--decoder", "copy-draft,stepwise", "--overwrite") == 0
    assert RunRecord.load(tmp_path / "grid" / "copy-draft.out.run.json").n_sentences == 2


def test_examples_are_shown_to_both_sides_alike(tmp_path: Path, model: Path) -> None:
    pool = tmp_path / "pool.xml"
    documents = "".join(
        f'<document id="p{n}"><sentence id="p{n}.s0" text="Combine drug{n} with caution, as case {n} shows.">'
        f'<entity charOffset="8-{11 + len(str(n))}" type="drug" text="drug{n}"/></sentence></document>'
        for n in range(12)
    )
    pool.write_text(f"<corpus>{documents}</corpus>")
    out = tmp_path / "grid"
    arguments = ("--model", model, "--limit", 2, "--examples", pool, *SETTINGS)
    assert run(SAMPLE, "--out", out, *arguments, "--shots", "0,2,4", "--select", "random,similar") == 0
    records = {path.name: RunRecord.load(path) for path in out.glob("*.run.json")}
    assert len(records) == 2 * (1 + 2 + 2)
    n_tokens = {name: record.effort["n_prompt_tokens"] for name, record in records.items()}
    for name, n in n_tokens.items():
        if name.startswith("constrained"):
            assert n_tokens[f"un{name}"] == n
    for select in ("random", "similar"):
        none, two, four = (
            n_tokens[f"constrained-{shots}.out.run.json"]
            for shots in ("0-shots", f"2-shots-{select}", f"4-shots-{select}")
        )
        assert none < two < four
    options = records["constrained-2-shots-random.out.run.json"].options
    assert (options["shots"], options["select"], options["examples"]) == (2, "random", str(pool))
    assert "seed" not in records["constrained-0-shots.out.run.json"].options


def test_a_large_cache_is_told_for_the_arms_that_need_it(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_size, "WORTH_A_NOTE", 1)
    shots = SAMPLE.with_name("shots.xml")
    arguments = ("--model", model, "--limit", 1, "--context", 2048, "--threads", 1, "--examples", shots)
    assert run(SAMPLE, "--out", tmp_path / "grid", *arguments, "--arms", "constrained", "--shots", "0,2") == 0
    assert capsys.readouterr().err.count("tokens of examples take about") == 1


def test_one_failing_arm_does_not_lose_the_others(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "grid"
    bad = tmp_path / "bad.json"
    bad.write_text('{"sysprompt": ["{nonsense}"], "usrprompt": ["{sentence}"]}')
    arguments = ("--model", model, "--limit", 2, "--arms", "constrained", *SETTINGS)
    assert run(SAMPLE, "--out", out, *arguments, "--prompt", f"{bad},plain") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: arm bad: {bad}: unknown placeholder {{nonsense}}")
    assert error.count("\n") == 1
    assert list(arms_in(out)) == ["plain"]
    assert list(json.loads((out / "ablation.json").read_text())["failed"]) == ["bad"]


def test_an_unexpected_error_costs_its_arm_alone_and_is_kept(tmp_path: Path, model: Path) -> None:
    def open_arm(settings: Settings, backend: Backend | None, notify: Notify) -> Annotator:
        if settings.decoder == "stepwise":
            raise RuntimeError("out of\nluck")
        return Annotator.load(settings=settings, loaded=backend, notify=notify)

    settings = Settings(context=2048, threads=1)
    arms = grid(settings, model=[str(model)], decoder=["stepwise", "copy-draft"])
    outcome: Outcome = run_grid(arms, SAMPLE, tmp_path, open_annotator=open_arm, limit=1)
    assert list(outcome.failed.values()) == ["unexpected RuntimeError: out of luck (see stepwise.traceback)"]
    assert "raise RuntimeError" in (tmp_path / "stepwise.traceback").read_text()
    assert [path.name for path in outcome.records.values()] == ["copy-draft.out.run.json"]


BARE = '<d><sentence id="s" text="x"/></d>'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--arms", "constrained,free"), "--arms: 'free' is not one of constrained, unconstrained"),
        (("--arms", ","), "--arms: the list ',' is empty"),
        (("--shots", "0,five"), "--shots: 'five' is not a number of examples"),
        (("--shots", "5"), "name a file with --examples"),
        (("--decoder", "magic"), "--decoder: 'magic' is not one of"),
        (("--engine", "magic"), "--engine: 'magic' is not one of"),
        (("--prompt", "nowhere"), "no arm could run: constrained: nowhere: no such prompt"),
        (("--model", "nowhere.gguf"), "no arm could run: constrained: nowhere.gguf"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert run(SAMPLE, "--out", tmp_path / "grid", "--quiet", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_gold_and_folder_are_checked_before_anything_runs(tmp_path: Path) -> None:
    def never(*_: object) -> Annotator:
        raise AssertionError("an arm was opened")

    def run_none(input: Path, folder: Path) -> None:
        run_grid(grid(Settings(), constrained=BOTH), input, folder, open_annotator=never)

    (tmp_path / "bare.xml").write_text(BARE)
    with pytest.raises(InputError, match="no entities to compare"):
        run_none(tmp_path / "bare.xml", tmp_path / "grid")
    with pytest.raises(InputError, match="no such file"):
        run_none(tmp_path / "none.xml", tmp_path / "grid")
    with pytest.raises(UserError, match="cannot be made"):
        run_none(SAMPLE, tmp_path / "bare.xml")


# ---- killing it


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_killed_grid_repeats_no_finished_arm_and_ends_with_the_same_table(
    tmp_path: Path, model: Path
) -> None:
    source = tmp_path / "in.xml"
    entity = '<entity id="e{0}" charOffset="10-16" type="drug" text="aspirin"/>'
    sentences = "".join(
        f'<sentence id="s{n}" text="Effect of aspirin on {n} men.">{entity.format(n)}</sentence>'
        for n in range(120)
    )
    source.write_text(f"<document>{sentences}</document>")
    arguments = [str(source), "--model", str(model), *SETTINGS, "--decoder", "copy-draft,stepwise"]
    arguments += ["--arms", "constrained"]
    assert run(*arguments, "--out", tmp_path / "whole") == 0

    command_line = [
        sys.executable,
        str(ROOT / "bin" / "ablate"),
        *arguments,
        "--out",
        str(tmp_path / "killed"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command_line, env=environment, stdout=subprocess.DEVNULL)
    journal = tmp_path / "killed" / "stepwise.out.journal"
    deadline_s = time.monotonic() + 100
    while not (journal.exists() and journal.stat().st_size > 1500) and time.monotonic() < deadline_s:
        assert process.poll() is None, "the grid ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert not (tmp_path / "killed" / "ablation.json").exists()
    first = tmp_path / "killed" / "copy-draft.out"
    done = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in first.parent.glob("copy-draft.*")}
    assert len(done) == 3

    assert run(*arguments, "--out", tmp_path / "killed") == 0
    assert done == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in done}
    assert RunRecord.load(tmp_path / "killed" / "stepwise.out.run.json").n_resumed > 0
    assert arms_in(tmp_path / "killed") == arms_in(tmp_path / "whole")
    for name in ("copy-draft.out", "stepwise.out"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


# ---- tables


def test_measures_are_written_as_people_read_them() -> None:
    assert Measure("f1", "F1", 0.8349, "percent", 0.8, 0.85).text() == "83.5 [80.0, 85.0]"
    assert Measure("d", "d", -0.012, "points", -0.05, 0.03).text() == "-1.2 [-5.0, +3.0]"
    assert Measure("s", "s", 0.03141, "number").text() == "0.0314"
    assert Measure("s", "s", 1234.5, "number").text() == "1234"
    assert Measure("n", "n", 3, "count").text() == "3"
    assert Measure("n", "n", None, "count").text() == "–"


def test_a_terminal_gets_the_narrower_way() -> None:
    wide = Table(("run", *(f"figure {n}" for n in range(9))), (("a", *"123456789"),))
    assert wide.text().splitlines()[1] == "figure 0  1"
    narrow = Table(("run", "F1"), tuple((f"a run with a name {n}", "1") for n in range(9)))
    assert narrow.text().splitlines()[0].split() == ["run", "F1"]


@given(st.text(max_size=20))
def test_no_text_breaks_out_of_its_cell(text: str) -> None:
    shown = markdown_text(text)
    assert "\n" not in shown
    assert "<" not in shown
    assert "|" not in shown.replace("\\\\", "").replace("\\|", "")
    assert Table(("a", "b"), ((text, text),)).markdown().count("\n") == 3
