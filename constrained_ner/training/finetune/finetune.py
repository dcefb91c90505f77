"""Fine-tuning from files to an adapter: data, checks, memory, training, record.

OUT/adapter_model.safetensors, adapter_config.json    the best epoch's adapter, as peft reads it
OUT/constrained-ner.json                              what it was trained for (see `adapter`)
OUT/training.json                                     settings, data, figures of each epoch
OUT/checkpoints/, OUT/tensorboard/                    while it runs; its log
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate.utils import gather_object

from ...adapters import AdapterCard
from ...annotation.annotator import Annotator
from ...backends.transformers.backend import TransformersBackend, trained_length, vocabulary_of_model
from ...backends.transformers.messages import first_line, is_out_of_memory, quiet
from ...backends.transformers.model import load_tokenizer, require
from ...backends.transformers.vocabulary import template_of
from ...data import Mention, Sentence
from ...errors import OutOfMemoryError, OutputError
from ...evaluation import Evaluation, evaluate
from ...files import write_atomically
from ...prompting.wording import PromptFile
from ...runs.record import installed_versions
from ...runs.splits import keep_apart
from ...schema import DDI, Schema
from .adapter import AdaptedModel, Lora, load_for_training, save_adapter, training_device, training_precision
from .chat_targets import ChatExamples, ChatTargets
from .data import Say, check_types, every_kth, read, report_examples, require_examples
from .folder import CHECKPOINTS, RECORD_FILE, Settings, TrainingRecord, prepare
from .memory_estimate import Load, ModelShape, estimate, savings
from .selection import select
from .trainer import (
    SCORE,
    CheckGradients,
    EverySteps,
    KeepBest,
    Report,
    Tuner,
    collate,
    is_finished,
    last_checkpoint,
)


def finetune(settings: Settings, out: Path, say: Say, *, resume: bool = False) -> TrainingRecord:
    """Train an adapter into the folder `out`. Raises UserError.

    resume: go on from the last checkpoint there, if any; the settings must be the same.
    """
    began_s = time.monotonic()
    train, val = read(settings.train), read(settings.val)
    schema = Schema.load(settings.schema_file) if settings.schema_file else DDI
    prompt = PromptFile.named(settings.prompt)
    # For what it refuses alone: phrases that both have may be learnt, the corpus's own splits share some.
    keep_apart(train, val, used_path=settings.train, evaluated_path=settings.val, purpose="training")
    check_types(settings.train, train, schema, say)
    if (done := prepare(out, settings, resume)) is not None:
        say(f"{out}: this training is finished; nothing to do")
        return done
    config, tokenizer = load_tokenizer(settings.model, trust_remote_code=settings.trust_remote_code)
    targets = ChatTargets(
        vocabulary_of_model(settings.model, tokenizer, config),
        template_of(tokenizer),
        schema=schema,
        prompt=prompt,
        n_context=trained_length(config.get_text_config(decoder=True)),
    )
    written = targets.write_all(select(train, settings.select, settings.max_examples, settings.seed))
    written_val = targets.write_all(val)
    report_examples(written, settings.train, say)
    require_examples(written_val, settings.val)
    device = training_device(settings.device)
    shape, load = _plan(config, settings, device, written)
    say(f"memory: {estimate(shape, load)}")
    measured = every_kth(val, settings.limit_val)
    with memory_errors(list(savings(shape, load, n_whole_legal=1))):
        adapted = _load(settings, device, load.checkpointing)
        card = AdapterCard.of(
            {"name": settings.model, **adapted.loaded.identity()},
            schema,
            prompt,
            template_of(tokenizer),
            loss=settings.loss,
        )
        say(_sizes(adapted))
        with quiet():
            tuner = _make_tuner(settings, out, adapted, card, written, written_val, say)
            tuner.measure = lambda: _figures(_measure(tuner, adapted, card, measured, settings.batch))
            _train(tuner, settings, out, say)
    evaluations = [entry for entry in tuner.state.log_history if SCORE in entry]
    record = TrainingRecord(
        settings=settings,
        n_examples=len(written.examples),
        n_val=len(measured),
        refused=dict(written.refused),
        dropped=written.dropped,
        epochs=evaluations,
        best=max(evaluations, key=lambda entry: entry[SCORE]),
        elapsed_s=round(time.monotonic() - began_s, 1),
        peak_memory_bytes=peak_memory(device),
        versions=installed_versions(),
    )
    if tuner.is_world_process_zero():
        write_atomically(out / RECORD_FILE, [record.model_dump_json(indent=2), "\n"])
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    return record


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process has held: on the graphics card, or of the machine's memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# ---- the model


def _plan(
    config: Any, settings: Settings, device: torch.device, written: ChatExamples
) -> tuple[ModelShape, Load]:
    on_card = device.type == "cuda"
    longest = max(len(e.ids) for e in written.examples)
    n_answer = max(len(e.ids) - e.n_prompt for e in written.examples)
    load = Load(
        rank=settings.rank,
        batch=settings.batch,
        quantize=settings.quantize,
        bytes_per_number=training_precision(device).itemsize,
        checkpointing=on_card if settings.checkpointing is None else settings.checkpointing,
        dropout=settings.dropout > 0,
        n_columns=longest,
        n_whole=1 if settings.loss == "legal" else n_answer,
    )
    return ModelShape.of(config, trust_remote_code=settings.trust_remote_code), load


def _load(settings: Settings, device: torch.device, checkpointing: bool) -> AdaptedModel:
    transformers.set_seed(settings.seed)
    return load_for_training(
        settings.model,
        Lora(settings.rank, settings.alpha, settings.dropout, settings.targets),
        quantize=settings.quantize,
        device=device,
        checkpointing=checkpointing,
        trust_remote_code=settings.trust_remote_code,
    )


def _sizes(adapted: AdaptedModel) -> str:
    n_trained, n_all = adapted.peft.get_nb_trainable_parameters()
    return f"training {n_trained} of {n_all} parameters ({n_trained / n_all:.1%}) on {adapted.loaded.device}"


@contextmanager
def memory_errors(ways: Sequence[str]) -> Iterator[None]:
    """Turn running out of memory into one sentence that says what would take less."""
    try:
        yield
    except (OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        advice = "; ".join(ways) or "a smaller model is needed"
        raise OutOfMemoryError(f"out of memory ({first_line(error)[:120]}): {advice}") from None


# ---- training


def _make_tuner(
    settings: Settings,
    out: Path,
    adapted: AdaptedModel,
    card: AdapterCard,
    train: ChatExamples,
    val: ChatExamples,
    say: Say,
) -> Tuner:
    require("tensorboard", "train")
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback

    device = adapted.loaded.device
    tokenizer = adapted.loaded.tokenizer
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0

    def write_best() -> None:
        try:
            save_adapter(adapted.peft, out)
        except (OSError, RuntimeError) as error:
            raise OutputError(f"{out}: cannot be written: {str(error).splitlines()[0]}") from None
        card.save(out)

    tuner = Tuner(
        model=adapted.peft,
        head=adapted.head,
        measure=dict,
        args=_arguments(settings, out, device),
        train_dataset=train.examples,
        eval_dataset=val.examples,
        data_collator=lambda examples: collate(examples, settings.loss, pad),
        callbacks=[Report(say), KeepBest(write_best, settings.patience), EverySteps(settings.save_steps)],
    )
    tuner.add_callback(CheckGradients(tuner.check_gradients))
    if tuner.is_world_process_zero():
        board: Any = TensorBoardCallback
        tuner.add_callback(board(SummaryWriter(str(out / "tensorboard"))))
    return tuner


def _arguments(settings: Settings, out: Path, device: torch.device) -> transformers.TrainingArguments:
    precision = training_precision(device)
    arguments = transformers.TrainingArguments(
        output_dir=str(out / CHECKPOINTS),
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=settings.batch,
        gradient_accumulation_steps=settings.grad_accum,
        learning_rate=settings.lr,
        lr_scheduler_type="cosine",
        warmup_steps=0.03,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        logging_steps=1 if device.type == "cpu" else 10,
        bf16=precision == torch.bfloat16,
        fp16=precision == torch.float16,
        use_cpu=device.type == "cpu",
        seed=settings.seed,
        prediction_loss_only=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device.type == "cuda",
        ddp_find_unused_parameters=False,
        label_names=["labels"],
        report_to=[],
        disable_tqdm=True,
    )
    if "LOCAL_RANK" not in os.environ and arguments.n_gpu > 1:
        # Several cards go through torchrun; in one process they would share our flat places.
        arguments._n_gpu = 1
    return arguments


def _train(tuner: Tuner, settings: Settings, out: Path, say: Say) -> None:
    last = last_checkpoint(out / CHECKPOINTS)
    if last is None:
        tuner.train()
        return
    if is_finished(last, settings.patience):
        tuner.state = transformers.TrainerState.load_from_json(str(last / "trainer_state.json"))
        return
    say(f"going on from {last}")
    tuner.train(resume_from_checkpoint=str(last))


# ---- figures


def _measure(
    tuner: Tuner, adapted: AdaptedModel, card: AdapterCard, sentences: Sequence[Sentence], batch: int
) -> Evaluation:
    """Annotate as `bin/llm-NERC` will, each process its share, and score officially."""
    mine = sentences[tuner.args.process_index :: tuner.args.world_size]
    backend = TransformersBackend.around(adapted.loaded, batch=batch)
    with Annotator(backend, schema=card.entity_schema, prompt=card.prompt) as annotator:
        predicted: list[tuple[str, Mention]] = [
            (annotated.sentence.id, mention)
            for annotated in annotator.run(mine)
            for mention in annotated.sentence.mentions
        ]
    if tuner.args.world_size > 1:
        predicted = gather_object(predicted)
    return evaluate([(s.id, m) for s in sentences for m in s.mentions], predicted)


def _figures(evaluation: Evaluation) -> dict[str, float]:
    by_type = {f"f1_{name}": counts.f1 for name, counts in evaluation.by_type.items()}
    return {"micro_f1": evaluation.micro.f1, "macro_f1": evaluation.macro.f1, **by_type}
