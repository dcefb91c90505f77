"""A wrong command line is one line: the option, its value, and what is allowed. Exit code 2."""

from __future__ import annotations

import pytest
from commands import run_command

from constrained_ner.cli import ablate, annotate, evaluate, finetune, report, train_bundled


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("a b --min-confidence 2", "--min-confidence: '2' is not a number from 0 to 1"),
        ("a b --min-confidence=x", "--min-confidence: 'x' is not a number from 0 to 1"),
        ("a b --min-confidence -1", "--min-confidence: '-1' is not a number from 0 to 1"),
        ("a b --batch 0", "--batch: '0' is not a whole number of at least 1"),
        ("a b --limit 2 --limit 1.5", "--limit: '1.5' is not a whole number of at least 1"),
        ("a b --seed one", "--seed: 'one' is not a whole number"),
        ("a b --device gpu", "--device: 'gpu' is not one of auto, cpu, cuda"),
        ("a b --engine x", "--engine: 'x' is not one of native, outlines, llguidance, xgrammar, gbnf"),
        ("a b --split dev", "--split: 'dev' is not one of train, devel, test"),
        ("a b --min-confidnce 1", "--min-confidnce: no such option; did you mean --min-confidence?"),
        ("a b --unconstraned", "--unconstraned: no such option; did you mean --unconstrained?"),
        ("a b --zzz", "--zzz: no such option; see --help"),
        ("a b --limit", "--limit: the value is missing; it is a whole number of at least 1"),
        ("a b --model", "--model: the value is missing"),
        ("a b --quiet=1", "--quiet takes no value"),
        ("", "INPUT is missing; see --help"),
        ("a b c", "unexpected argument: c"),
        ("a b --bias drug", "bias 'drug' is not of the form TYPE=NUMBER, for instance drug_n=+0.5"),
        ("a b --server x", "server: must be one of llama-server, "),
        ("a b --workers 0", "--workers: '0' is neither auto nor a number from 1 to 256"),
    ],
)
def test_annotate(typed: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(annotate.main, *typed.split()) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {message}")
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.parametrize(
    ("command", "typed", "message"),
    [
        (ablate, "a", "--out is missing; see --help"),
        (evaluate, "a b --limit 0", "--limit: '0' is not a whole number of at least 1"),
        (finetune, "--dropout 1.5", "--dropout: '1.5' is not a number from 0 to 0.9"),
        (finetune, "--rank", "--rank: the value is missing; it is a whole number of at least 1"),
        (report, "a -o r.html --track x", "--track: 'x' is not one of mlflow"),
        (train_bundled, "--data d -o m --minutes 1 2 x", "--minutes: '1 2 x' is not 3 numbers"),
    ],
)
def test_the_other_commands(
    command: object, typed: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(command.main, *typed.split()) == 2  # type: ignore[attr-defined]
    assert capsys.readouterr().err == f"error: {message}\n"


def test_help_and_version_are_no_errors(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--help", "--version"):
        assert run_command(annotate.main, option) == 0
    assert capsys.readouterr().err == ""
