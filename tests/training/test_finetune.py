"""Fine-tuning end to end on CPU: training, resuming, and mistakes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
import transformers
from commands import run_command
from finetuning import settings
from full_disk import file_size_limit

from constrained_ner import Annotator
from constrained_ner.cli import finetune as command
from constrained_ner.data import Sentence
from constrained_ner.errors import (
    InputError,
    ModelError,
    OutOfMemoryError,
    OutputError,
    SchemaError,
)
from constrained_ner.evaluation import Evaluation, evaluate
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.prompting.wording import PromptFile
from constrained_ner.training.finetune.callbacks import KeepBest
from constrained_ner.training.finetune.checkpoints import (
    best_epoch,
    is_best_so_far,
    last_checkpoint,
    n_epochs_without_gain,
)
from constrained_ner.training.finetune.run import finetune
from constrained_ner.training.finetune.selection import Select
from constrained_ner.training.finetune.trainer import Tuner
from constrained_ner.training.losses import LOSSES, Loss


def test_fine_tuning_clearly_beats_the_base_model(folder: Path, tuned: Path) -> None:
    base = measure(
        Annotator.load(folder / "model", prompt=PromptFile.load(folder / "prompt.json"), device="cpu"),
        folder / "val.xml",
    )
    adapted = measure(Annotator.load(folder / "model", adapter=str(tuned), device="cpu"), folder / "val.xml")
    record = json.loads((tuned / "training.json").read_text())
    assert adapted.micro.f1 == pytest.approx(record["best"]["eval_micro_f1"])
    assert adapted.micro.f1 > base.micro.f1 + 0.4


def test_quiet_says_nothing_of_what_was_read(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / "odd.xml"
    odd.write_text(
        '<d><sentence id="s" text="Iron and zinc."><entity charOffset="0-3" type="drug" text="Iron"/>'
        '<entity charOffset="90-93" type="drug" text="zinc"/></sentence></d>'
    )
    arguments = (
        "--model",
        tmp_path / "none",
        "--train",
        odd,
        "--val",
        folder / "val.xml",
        "-o",
        tmp_path / "a",
    )
    assert run_command(command.main, *arguments) == 2
    assert capsys.readouterr().err.startswith(f"note: {odd}: 1 of 2 entities cannot be read")
    assert run_command(command.main, *arguments, "--quiet") == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_merging_does_not_change_the_mentions(folder: Path, tuned: Path) -> None:
    found = []
    for merge in (True, False):
        with Annotator.load(folder / "model", adapter=str(tuned), device="cpu", merge=merge) as ner:
            run = ner.run(sentences(folder / "val.xml")[:10])
            found.append([(a.sentence.id, m) for a in run for m in a.sentence.mentions])
    merged, apart = found
    assert [(i, m.spans, m.type) for i, m in merged] == [(i, m.spans, m.type) for i, m in apart]
    assert [m.confidence for _, m in merged] == pytest.approx([m.confidence for _, m in apart], abs=1e-4)


def test_the_folder_holds_only_what_is_needed(tuned: Path) -> None:
    names = {path.name for path in tuned.iterdir()}
    assert names == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "constrained-ner.json",
        "settings.json",
        "training.json",
        "tensorboard",
    }
    assert list((tuned / "tensorboard").iterdir())


def test_four_bits_learn_too(folder: Path, tmp_path: Path) -> None:
    record = finetune(
        settings(folder, quantize="4bit", max_steps=12, limit_val=8), tmp_path / "a", lambda line: None
    )
    first = record.epochs[0]["eval_loss"]
    assert first < 0.7  # untrained 1.1, trained about 0.45
    with Annotator.load(folder / "model", adapter=str(tmp_path / "a"), quantize="4bit", device="cpu") as ner:
        ner.annotate("Patients who take diuretics should avoid lithium.")


def test_a_killed_run_ends_as_an_unbroken_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = settings(
        folder,
        rank=8,
        dropout=0.2,
        epochs=2,
        batch=4,
        grad_accum=2,
        max_examples=40,
        limit_val=4,
        save_steps=1,
    )
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    script = (  # kills itself after the evaluation of the first epoch
        "import os, sys; from pathlib import Path; from constrained_ner.training.finetune.run import *;"
        "log = lambda line: line.startswith('epoch 1.00') and os.kill(os.getpid(), 9);"
        "finetune(FinetuneSettings.model_validate_json(sys.argv[1]), Path(sys.argv[2]), log)"
    )
    # Sums of other numbers of threads differ in their last bits.
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    process = subprocess.Popen([sys.executable, "-c", script, slow.model_dump_json(), str(broken)])
    unbroken = finetune(slow, whole, lambda line: None)
    assert process.wait(300) == -signal.SIGKILL
    newest = last_checkpoint(broken / "checkpoints")
    assert newest is not None
    assert not (broken / "training.json").exists()
    torn = newest.with_name("checkpoint-99")  # one that was being written during a power cut
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"global_st')
    lines: list[str] = []
    resumed = finetune(slow, broken, lines.append, resume=True)
    assert f"continuing from {newest}" in lines
    for name in ("adapter_model.safetensors", "adapter_config.json", "constrained-ner.json"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    for entry, other in zip(resumed.epochs, unbroken.epochs, strict=True):
        for name in ("epoch", "step", "eval_loss", "eval_micro_f1"):
            assert entry[name] == other[name]
    assert finetune(slow, broken, lines.append, resume=True) == resumed
    assert "nothing to do" in lines[-1]


def evaluated(*figures: tuple[float, float]) -> list[dict[str, float]]:
    """F1 and loss of each epoch, as the Trainer logs them."""
    epochs = enumerate(figures, start=1)
    return [{"epoch": n, "eval_micro_f1": f1, "eval_loss": loss} for n, (f1, loss) in epochs]


def test_early_stopping_while_f1_stands_still_and_the_loss_falls() -> None:
    falling = evaluated((0.0, 1.3), (0.0, 1.2), (0.0, 1.1))
    assert n_epochs_without_gain(falling) == 0
    assert best_epoch(falling)["epoch"] == 3
    assert is_best_so_far(falling)
    rising = evaluated((0.5, 1.3), (0.4, 1.2), (0.4, 1.25), (0.5, 1.25))
    assert [n_epochs_without_gain(rising[:n]) for n in range(1, 5)] == [0, 0, 1, 0]
    assert best_epoch(rising)["epoch"] == 4
    equal = evaluated((0.5, 1.0), (0.5, 1.0), (0.5, 1.0))
    assert n_epochs_without_gain(equal) == 2
    assert best_epoch(equal)["epoch"] == 1


def test_stopping_early_is_said() -> None:
    said: list[str] = []
    written: list[int] = []
    keep = KeepBest(lambda: written.append(1), 2, said.append)
    state, control = transformers.TrainerState(max_steps=99, global_step=3), transformers.TrainerControl()
    for n in range(1, 4):
        state.log_history = evaluated((0.5, 1.0), (0.4, 1.1), (0.3, 1.2))[:n]
        keep.on_evaluate(None, state, control)
    assert control.should_training_stop
    assert len(written) == 1
    assert said == ["stopping early: 2 epochs without a gain in F1 or loss (--patience 2); epoch 1 is kept"]


def test_patience_counts_from_the_first_best() -> None:
    history = [{"eval_micro_f1": f1} for f1 in (0.1, 0.5, 0.5, 0.4)]
    assert [n_epochs_without_gain(history[:n]) for n in range(5)] == [0, 0, 0, 1, 2]


class TestMistakes:
    def tune(self, folder: Path, out: Path, **changes: Any) -> list[str]:
        lines: list[str] = []
        finetune(settings(folder, **changes), out, lines.append)
        return lines

    def test_no_entities(self, folder: Path, tmp_path: Path) -> None:
        empty = tmp_path / "empty.xml"
        empty.write_text('<d><sentence id="s0" text="No names here."/></d>')
        with pytest.raises(InputError, match="no entity in its 1 sentences"):
            self.tune(folder, tmp_path / "a", train=empty)
        assert not (tmp_path / "a").exists()

    def test_measuring_on_training_data(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="cannot be used for training"):
            self.tune(folder, tmp_path / "a", val=folder / "train.xml")

    def test_types_that_do_not_match(self, folder: Path, tmp_path: Path) -> None:
        schema = tmp_path / "schema.json"
        schema.write_text('{"name": "other", "types": [{"name": "gene"}]}')
        with pytest.raises(SchemaError, match=r"the schema other has none of its types, .*drug"):
            self.tune(folder, tmp_path / "a", schema_file=schema)
        schema.write_text('{"name": "part", "types": [{"name": "drug"}, {"name": "gene"}]}')
        lines = self.tune(folder, tmp_path / "a", schema_file=schema, max_steps=1, limit_val=2)
        assert any("type brand" in line and "not in the schema part" in line for line in lines)
        assert any("no mention of type gene" in line for line in lines)

    def test_folders_and_settings(self, folder: Path, tuned: Path, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="pass --resume to continue it"):
            self.tune(folder, tuned)
        with pytest.raises(OutputError, match=r"lr was 0\.003 when this training began, now it is 0\.1"):
            finetune(settings(folder, lr=0.1), tuned, lambda line: None, resume=True)
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="cannot be created"):
            self.tune(folder, tmp_path / "file" / "a")
        with pytest.raises(ModelError, match="--targets nothing_like_it"):
            self.tune(folder, tmp_path / "b", targets="nothing_like_it")

    def test_a_non_finite_loss_stops_the_run(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"at step \d+ \(epoch .*; pass a lower --lr than 1e\+30$"):
            self.tune(folder, tmp_path / "a", lr=1e30, save_steps=1)

    def test_out_of_memory_while_loading(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def load(*_: Any, **__: Any) -> None:
            torch.empty(1 << 60)

        monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", load)
        with pytest.raises(OutOfMemoryError, match=r"model: out of memory while loading.*--batch 1"):
            self.tune(folder, tmp_path / "a")

    def test_a_training_that_failed_early_does_not_block_the_folder(
        self, folder: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(ModelError, match="--targets q_prok"):
            self.tune(folder, tmp_path / "a", targets="q_prok")
        self.tune(folder, tmp_path / "a", targets="q_proj", max_steps=1, limit_val=2)
        with pytest.raises(OutputError, match="pass --resume to continue it"):
            self.tune(folder, tmp_path / "a", targets="q_proj")
        (tmp_path / "a" / "training.json").write_text("{")
        with pytest.raises(InputError, match=r"training\.json: not the record of a training"):
            finetune(
                settings(folder, targets="q_proj", max_steps=1, limit_val=2),
                tmp_path / "a",
                lambda line: None,
                resume=True,
            )

    def test_nothing_to_measure_on(self, folder: Path, tmp_path: Path) -> None:
        long = tmp_path / "long.xml"
        entity = '<entity id="e" charOffset="0-3" type="drug" text="iron"/>'
        long.write_text(f'<d><sentence id="s0" text="iron {"word " * 3000}">{entity}</sentence></d>')
        with pytest.raises(
            InputError, match=r"long\.xml: sentence s0: \d+ tokens do not fit the context of 2048"
        ):
            self.tune(folder, tmp_path / "a", val=long)

    @pytest.mark.parametrize("option", ["--epochs=0", "--lr=-1", "--lr=nan"])
    def test_invalid_numbers(self, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
        given = ["finetune", "--model=m", "--train=t.xml", "--val=v.xml", "--out=o", option]
        monkeypatch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as stop:
            command.main()
        assert stop.value.code == 2

    def test_the_command_offers_every_loss_and_selection(self) -> None:
        offered = get_type_hints(command.finetune)
        assert get_args(offered["loss"]) == get_args(Loss) == tuple(LOSSES)
        assert get_args(offered["select"]) == get_args(Select)

    def test_with_a_scaler_overflowing_gradients_are_no_error(self, tmp_path: Path) -> None:
        """In float16 on a GPU this is no divergence: the scaler skips the step."""
        layer = torch.nn.Linear(2, 1)
        arguments = transformers.TrainingArguments(str(tmp_path), use_cpu=True, report_to=[])
        tuner = Tuner(model=layer, head=layer, measure=dict, args=arguments)
        layer.weight.grad = torch.full((1, 2), float("inf"))
        with pytest.raises(ModelError, match="the gradient is not finite at step 1"):
            tuner.check_gradients()
        tuner.accelerator.scaler = torch.amp.GradScaler("cpu")
        tuner.check_gradients()

    def test_a_full_disk_loses_nothing(
        self,
        folder: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """The limit leaves room for an adapter, but not for the optimiser's state."""
        options = f"--model {folder / 'model'} --train {folder / 'train.xml'} --val {folder / 'val.xml'} "
        options += f"--prompt {folder / 'prompt.json'} --out {tmp_path / 'a'} --rank 16 --max-steps 1 "
        options += "--limit-val 2 --batch 2 --grad-accum 1 --device cpu"
        monkeypatch.setattr(sys, "argv", ["finetune", *options.split()])
        with file_size_limit(200_000), pytest.raises(SystemExit) as stop:
            command.main()
        assert stop.value.code == 2
        written = capsys.readouterr().err
        (line,) = [line for line in written.splitlines() if line.startswith("error:")]
        assert "checkpoint-1: cannot be written" in line
        assert "Traceback" not in written
        assert (tmp_path / "a" / "adapter_model.safetensors").exists()


def sentences(path: Path) -> list[Sentence]:
    return [sentence for document in read_ddi(path) for sentence in document]


def measure(annotator: Annotator, path: Path) -> Evaluation:
    gold = sentences(path)
    with annotator:
        predicted = [(a.sentence.id, m) for a in annotator.run(gold) for m in a.sentence.mentions]
    return evaluate([(s.id, m) for s in gold for m in s.mentions], predicted)
