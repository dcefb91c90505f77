"""Fine-tuning end to end on CPU: targets, losses, resuming, adapters, and mistakes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
import transformers
from full_disk import file_size_limit
from template_sentences import make_document, texts, write
from tiny_instruct import make_tiny_instruct

from constrained_ner import Annotator
from constrained_ner.adapters import AdapterCard
from constrained_ner.backends.protocol import Step
from constrained_ner.backends.transformers.backend import TransformersBackend, vocabulary_of_model
from constrained_ner.backends.transformers.model import load_tokenizer
from constrained_ner.backends.transformers.vocabulary import template_of
from constrained_ner.cli import finetune as command
from constrained_ner.constraint.automaton import Constraint
from constrained_ner.constraint.legal import LegalTokens
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.decoding.answer import choose, is_decision
from constrained_ner.errors import (
    InputError,
    ModelError,
    OutOfMemoryError,
    OutputError,
    SchemaError,
    UserError,
)
from constrained_ner.evaluation import Evaluation, evaluate
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.prompting.wording import PromptFile
from constrained_ner.schema import DDI
from constrained_ner.training.finetune.adapter import Lora, load_for_training
from constrained_ner.training.finetune.checkpoints import last_checkpoint, n_epochs_without_gain
from constrained_ner.training.finetune.folder import FinetuneSettings
from constrained_ner.training.finetune.memory_estimate import ModelShape, Workload, estimate, savings
from constrained_ner.training.finetune.run import finetune, memory_errors
from constrained_ner.training.finetune.selection import Select, select
from constrained_ner.training.finetune.trainer import Tuner, collate
from constrained_ner.training.losses import LOSSES, Loss, Question
from constrained_ner.training.output_rows import check_output_layer, cross_entropies
from constrained_ner.training.targets import TargetWriter

PROMPT = {"sysprompt": ["Mark the names: {tags}"], "usrprompt": ["{sentence}"]}
SMALL: dict[str, Any] = {"num_hidden_layers": 2, "hidden_size": 64, "head_dim": 16, "intermediate_size": 128}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a prompt, and sentences to learn from and to measure on."""
    folder = tmp_path_factory.mktemp("finetune")
    make_tiny_instruct(folder / "model", **SMALL)
    (folder / "prompt.json").write_text(json.dumps(PROMPT))
    train = write(make_document(160, seed=1), folder / "train.xml")
    write(make_document(40, seed=2, without=texts(train)), folder / "val.xml")
    return folder


def settings(folder: Path, **changes: Any) -> FinetuneSettings:
    defaults = {
        "model": str(folder / "model"),
        "train": folder / "train.xml",
        "val": folder / "val.xml",
        "prompt": str(folder / "prompt.json"),
        "device": "cpu",
        "rank": 64,
        "alpha": 128,
        "dropout": 0.0,
        "lr": 3e-3,
        "batch": 8,
        "grad_accum": 1,
        "epochs": 5,
        "patience": None,
    }
    return FinetuneSettings(**defaults | changes)


def sentences(path: Path) -> list[Sentence]:
    return [sentence for document in read_ddi(path) for sentence in document]


def measure(annotator: Annotator, path: Path) -> Evaluation:
    gold = sentences(path)
    with annotator:
        predicted = [(a.sentence.id, m) for a in annotator.run(gold) for m in a.sentence.mentions]
    return evaluate([(s.id, m) for s in gold for m in s.mentions], predicted)


@pytest.fixture(scope="module")
def tuned(folder: Path) -> Path:
    """An adapter trained with the loss over the legal tokens."""
    lines: list[str] = []
    record = finetune(settings(folder), folder / "tuned", lines.append)
    assert record.n_examples == 160
    assert len(record.epochs) == 5
    assert any(line.startswith("memory: about ") for line in lines)
    assert sum("constrained F1" in line for line in lines) == 5
    assert record.best["eval_micro_f1"] == max(e["eval_micro_f1"] for e in record.epochs)
    return folder / "tuned"


def test_fine_tuning_clearly_beats_the_base_model(folder: Path, tuned: Path) -> None:
    base = measure(
        Annotator.load(folder / "model", prompt=PromptFile.load(folder / "prompt.json"), device="cpu"),
        folder / "val.xml",
    )
    adapted = measure(Annotator.load(folder / "model", adapter=str(tuned), device="cpu"), folder / "val.xml")
    record = json.loads((tuned / "training.json").read_text())
    assert adapted.micro.f1 == pytest.approx(record["best"]["eval_micro_f1"])
    assert adapted.micro.f1 > base.micro.f1 + 0.4


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


@pytest.fixture(scope="module")
def targets(folder: Path) -> TargetWriter:
    return chat_targets(folder)


class TestTargets:
    def test_the_prompt_is_the_one_that_decoding_uses(self, folder: Path, targets: TargetWriter) -> None:
        text = "Give <|im_end|> aspirin & β-blockers. "
        asked: list[int] = []

        class Listening(TransformersBackend):
            def prefill(self, prefix_ids: Any) -> None:
                asked.extend(prefix_ids)
                super().prefill(prefix_ids)

            def forward(self, steps: Any) -> Any:
                asked.extend(steps[0].token_ids)
                return super().forward(steps)

        backend = Listening(str(folder / "model"), device="cpu")
        with Annotator(backend, prompt=PromptFile.model_validate(PROMPT), decoder="stepwise") as ner:
            found = ner.annotate(text)
        example = targets.write(found)
        assert list(example.ids[:-1]) == asked[: len(example.ids) - 1]

    def test_the_end_is_what_the_template_writes(self, folder: Path, targets: TargetWriter) -> None:
        _, tokenizer = load_tokenizer(str(folder / "model"))
        example = targets.write(Sentence("s", "Take aspirin."))
        assert example.ids[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")
        assert min(targets.vocabulary.stop_ids) != example.ids[-1]

    def test_what_cannot_be_written_is_counted(self, targets: TargetWriter) -> None:
        cut = Mention((Span(1, 4),), "drug", "ake")
        parts = Mention((Span(0, 4), Span(5, 7)), "drug", "Take as")
        written = targets.write_all(
            [
                Sentence("a", "Take aspirin.", (cut, parts)),
                Sentence("b", ""),
                Sentence("c", "word " * 3000),
            ]
        )
        assert len(written.examples) == 1
        assert sum(written.refused.values()) == 2
        assert [sentence_id for sentence_id, _ in written.dropped] == ["c"]


@pytest.fixture(scope="module", params=["llama", "gemma2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gemma2: its logits are capped after the output layer."""
    folder = tmp_path_factory.mktemp("losses")
    capped = {"final_logit_softcapping": 1.5} if request.param == "gemma2" else {}
    make_tiny_instruct(folder / "model", family=request.param, initializer_range=0.3, **SMALL, **capped)
    return folder


class TestLosses:
    def test_the_legal_loss_is_what_decoding_computes(self, model: Path) -> None:
        targets = chat_targets(model)
        text = "Aspirin <5 mg/kg and oral contraceptives raise benzo(a)pyrene. "
        mentions = [mention(text, "Aspirin", "drug"), mention(text, "oral contraceptives", "group")]
        example = targets.write(Sentence("s", text, tuple(mentions)))
        adapted = load_for_training(
            str(model / "model"), Lora(), quantize=None, device=torch.device("cpu"), checkpointing=True
        )
        losses = losses_of(adapted, [example, targets.write(Sentence("s", "Take aspirin."))], "legal")
        legal = LegalTokens(Constraint(text, targets.machine), targets.tag_tokens)
        backend = TransformersBackend.around(replace(adapted.loaded))
        backend.prefill(example.ids[: example.n_prompt - 1])
        state, expected = legal.constraint.start, []
        after = zip(example.ids[example.n_prompt - 1 :], example.ids[example.n_prompt :], strict=False)
        for n_cached, (before, token_id) in enumerate(after):
            tokens = legal.legal(state)
            (scores,) = backend.forward([Step(0, n_cached, [before], [tuple(tokens)])])[0]
            if is_decision(tokens):
                assert scores is not None
                best = choose(tokens, scores)  # decoding scores the best token; ours may be another
                behind = (
                    scores.logits[[*tokens].index(token_id)] - scores.logits[[*tokens].index(best.token_id)]
                )
                expected.append(-(best.log_probability + float(behind)))
            state = tokens[token_id]
        assert len(expected) == len(example.decisions) > 8
        assert losses[: len(expected)].tolist() == pytest.approx(expected, abs=2e-5)

    def test_completion_is_the_model_s_own_loss(self, model: Path) -> None:
        targets = chat_targets(model)
        aspirin = mention("Take aspirin.", "aspirin", "drug")
        example = targets.write(Sentence("s", "Take aspirin.", (aspirin,)))
        adapted = load_for_training(
            str(model / "model"), Lora(), quantize=None, device=torch.device("cpu"), checkpointing=False
        )
        ids = torch.tensor([example.ids])
        labels = ids.clone()
        labels[:, : example.n_prompt] = -100
        theirs = adapted.peft(input_ids=ids, labels=labels).loss.detach()
        ours = losses_of(adapted, [example], "completion")
        assert len(ours) == len(example.ids) - example.n_prompt
        assert float(ours.mean()) == pytest.approx(float(theirs), abs=1e-5)

    def test_only_end_tokens_need_the_whole_vocabulary(self, model: Path) -> None:
        targets = chat_targets(model)
        examples = [targets.write(Sentence("s", "Take aspirin and wait.")) for _ in range(3)]
        adapted = load_for_training(
            str(model / "model"), Lora(), quantize=None, device=torch.device("cpu"), checkpointing=False
        )
        seen: list[int] = []
        hook = adapted.head.register_forward_hook(lambda module, inputs, output: seen.append(output.numel()))
        losses_of(adapted, examples, "legal")
        hook.remove()
        n_tokens = adapted.head.weight.shape[0]
        few = collate(examples, "legal", 0)["few"].numel()
        assert seen == [few + 3 * n_tokens]

    @pytest.mark.parametrize("kind", ["PhiConfig", "GraniteConfig", "CohereConfig"])
    def test_bias_and_scaled_logits_are_included(self, kind: str) -> None:
        """Phi has a bias in its output layer; Granite and Cohere scale their logits."""
        scales = {"GraniteConfig": {"logits_scaling": 4.0}, "CohereConfig": {"logit_scale": 0.25}}
        config = getattr(transformers, kind)(
            vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=2, pad_token_id=0, bos_token_id=None, eos_token_id=1, **scales.get(kind, {}),
        )  # fmt: skip
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        head = model.get_output_embeddings()
        with torch.no_grad():
            for weights in model.parameters():
                weights.add_(0.3 * torch.randn_like(weights))
        ids = torch.randint(50, (2, 6))
        few = torch.tensor([[3, 4, 5], [7, 8, -1]])
        question = Question(torch.tensor([1, 9]), few, torch.tensor([4]), torch.tensor([6]))
        with torch.no_grad():
            rows = model(input_ids=ids).logits.flatten(0, 1).log_softmax(-1)
            found = cross_entropies(model, head, ids, question)
        expected = [
            rows[1, [3, 4, 5]].logsumexp(0) - rows[1, 3],
            rows[9, [7, 8]].logsumexp(0) - rows[9, 7],
            -rows[4, 6],
        ]
        assert found.tolist() == pytest.approx([float(e) for e in expected], abs=1e-5)

    def test_a_quantised_output_layer_is_refused(self) -> None:
        head = torch.nn.Linear(4, 4)
        head.weight = torch.nn.Parameter(torch.zeros(4, 4, dtype=torch.uint8), requires_grad=False)
        with pytest.raises(ModelError, match="m: the output layer is quantised"):
            check_output_layer(head, "m")

    @pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings")  # peft's own, before our error
    def test_an_adapter_on_the_output_layer_is_refused(self, folder: Path) -> None:
        with pytest.raises(ModelError, match="model: the adapter covers the output layer"):
            load_for_training(
                str(folder / "model"),
                Lora(4, 8, 0.0, "q_proj,lm_head"),
                quantize=None,
                device=torch.device("cpu"),
                checkpointing=False,
            )


def test_four_bits_learn_too(folder: Path, tmp_path: Path) -> None:
    record = finetune(
        settings(folder, quantize="4bit", max_steps=12, limit_val=8), tmp_path / "a", lambda line: None
    )
    first = record.epochs[0]["eval_loss"]
    assert first < 1.0
    with Annotator.load(folder / "model", adapter=str(tmp_path / "a"), quantize="4bit", device="cpu") as ner:
        ner.annotate("Patients who take diuretics should avoid lithium.")


def test_a_killed_run_ends_as_an_unbroken_one(folder: Path, tmp_path: Path) -> None:
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


class TestAdapterCard:
    def test_another_base_is_refused_by_name(self, folder: Path, tuned: Path, tmp_path: Path) -> None:
        other = make_tiny_instruct(tmp_path / "other", seed=7, **SMALL)
        with pytest.raises(
            ModelError, match=r"with base model .* \([0-9a-f]{12}\), this run uses .* \([0-9a-f]{12}\); "
        ):
            Annotator.load(other, adapter=str(tuned), device="cpu")
        Annotator.load(other, adapter=str(tuned), device="cpu", force=True).close()

    def test_another_prompt_or_schema_is_refused_by_name(self, folder: Path, tuned: Path) -> None:
        with pytest.raises(
            ModelError, match=r"adapter was trained with prompt custom \(\w+\), this run uses plain \("
        ):
            Annotator.load(folder / "model", adapter=str(tuned), prompt=PromptFile.built_in(), device="cpu")
        fewer = DDI.model_copy(update={"types": DDI.types[:2]})
        with pytest.raises(ModelError, match="types drug, brand, group, drug_n, this run uses drug, brand;"):
            Annotator.load(folder / "model", adapter=str(tuned), schema=fewer, device="cpu")

    def test_a_card_changed_by_hand_is_refused(self, tuned: Path, tmp_path: Path) -> None:
        card = json.loads((tuned / "constrained-ner.json").read_text())
        card["prompt"]["sysprompt"] = ["other"]
        (tmp_path / "constrained-ner.json").write_text(json.dumps(card))
        with pytest.raises(InputError, match="changed by hand"):
            AdapterCard.load(tmp_path)

    def test_a_warning_if_it_never_learnt_to_copy(self, folder: Path, tuned: Path) -> None:
        notes: list[str] = []
        options: dict[str, Any] = {"adapter": str(tuned), "device": "cpu", "notify": notes.append}
        Annotator.load(folder / "model", decoder="unconstrained", **options).close()
        assert "trained with --loss legal" in notes.pop()
        Annotator.load(folder / "model", **options).close()
        assert not notes

    def test_an_adapter_made_elsewhere_has_no_card(self, tmp_path: Path) -> None:
        assert AdapterCard.load(tmp_path) is None


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
        with pytest.raises(InputError, match="may not serve for training"):
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

    def test_out_of_memory_suggests_options(self) -> None:
        with pytest.raises(ModelError, match=r"out of memory \(.*\): --batch 1 saves 3 GB"):  # noqa: SIM117
            with memory_errors(["--batch 1 saves 3 GB"]):
                torch.empty(1 << 60)
        with pytest.raises(RuntimeError, match="something else"), memory_errors([]):
            raise RuntimeError("something else")
        with pytest.raises(OutOfMemoryError, match=r"\(MemoryError\): --rank 8"), memory_errors(["--rank 8"]):
            raise MemoryError

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


SOME = [
    Sentence(f"s{n}", "x", () if n % 4 == 0 else (Mention((Span(0, 1),), kind, "x"),))
    for n in range(40)
    for kind in ["drug_n" if n in (5, 21) else "drug"]
]


class TestSelection:
    def test_the_same_seed_gives_the_same_sentences(self) -> None:
        for how in ("random", "balanced"):
            chosen = select(SOME, how, 12, seed=3)  # type: ignore[arg-type]
            assert chosen == select(SOME, how, 12, seed=3)  # type: ignore[arg-type]
            assert len(chosen) == 12
        assert select(SOME, "all", 3, seed=3) == SOME[:3]

    def test_balanced_prefers_rare_types_and_keeps_the_share_without_names(self) -> None:
        chosen = select(SOME, "balanced", 12, seed=0)
        assert {"s5", "s21"} <= {s.id for s in chosen}
        assert sum(not s.mentions for s in chosen) == 3
        with pytest.raises(UserError, match="needs --max-examples"):
            select(SOME, "balanced", None, seed=0)


def test_memory_is_estimated_from_the_configuration(folder: Path) -> None:
    config, _ = load_tokenizer(str(folder / "model"))
    shape = ModelShape.of(config)
    adapted = load_for_training(
        str(folder / "model"),
        Lora(rank=8, dropout=0.0),
        quantize=None,
        device=torch.device("cpu"),
        checkpointing=False,
    )
    load = Workload(8, 4, None, 4, checkpointing=False, dropout=False, n_columns=200, n_whole=50)
    trained, everything = adapted.peft.get_nb_trainable_parameters()
    found = estimate(shape, load)
    assert found.weights == 4 * (everything - trained)
    assert found.adapter == 16 * trained
    two_layers_and_one_at_work = 4 * 800 * kept_numbers(adapted) * 3 / 2
    assert found.activations == pytest.approx(two_layers_and_one_at_work, rel=0.3)
    assert estimate(shape, replace(load, checkpointing=True)).activations < found.activations
    assert any(way.startswith("--loss legal saves") for way in savings(shape, load, n_whole_legal=1))


def test_patience_counts_from_the_first_best() -> None:
    history = [{"eval_micro_f1": f1} for f1 in (0.1, 0.5, 0.5, 0.4)]
    assert [n_epochs_without_gain(history[:n]) for n in range(5)] == [0, 0, 0, 1, 2]


# ---- shared by the tests


def chat_targets(folder: Path) -> TargetWriter:
    config, tokenizer = load_tokenizer(str(folder / "model"))
    return TargetWriter(
        vocabulary_of_model(str(folder / "model"), tokenizer, config),
        template_of(tokenizer),
        schema=DDI,
        prompt=PromptFile.model_validate(PROMPT),
        n_context=2048,
    )


def mention(text: str, name: str, entity_type: str) -> Mention:
    start = text.index(name)
    return Mention((Span(start, start + len(name)),), entity_type, name)


def kept_numbers(adapted: Any) -> float:
    """Count the numbers per token that autograd keeps for the backward pass."""
    weights = {p.untyped_storage().data_ptr() for p in adapted.peft.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.randint(500, (2, 200))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        adapted.peft.train()
        adapted.loaded.model.model(input_ids=ids, use_cache=False)
    sizes = [t.untyped_storage().nbytes() for place, t in kept.items() if place not in weights]
    return sum(sizes) / ids.numel() / 4


def losses_of(adapted: Any, examples: Any, loss: Loss) -> torch.Tensor:
    batch = collate(examples, loss, pad=0)
    question = Question(*(batch[name] for name in ("few_at", "few", "whole_at", "whole")))
    return cross_entropies(adapted.peft, adapted.head, batch["input_ids"], question).detach()
