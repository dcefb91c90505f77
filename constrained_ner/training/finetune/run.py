"""Runs a fine-tuning from files to an adapter: data, checks, memory estimate, training, record.

OUT/adapter_model.safetensors, adapter_config.json    the best epoch's adapter, as peft reads it
OUT/adapter.gguf                                      the same as a GGUF LoRA, if the base is a GGUF file
OUT/model.safetensors, config.json, tokenizer.json    instead of these, the best epoch's whole model (--full)
OUT/constrained-ner.json                              what it was trained for (see `constrained_ner.adapters`)
OUT/training.json                                     settings, data, figures of each epoch
OUT/checkpoints/                                      only during training
OUT/tensorboard/                                      the training's log
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
from ...backends.installed import installed_file
from ...backends.transformers.backend import trained_length, vocabulary_of_model
from ...backends.transformers.gguf_base import is_gguf
from ...backends.transformers.messages import first_line, is_out_of_memory, quiet
from ...backends.transformers.model import load_tokenizer, require
from ...backends.transformers.vocabulary import template_of
from ...data import Sentence
from ...errors import OutOfMemoryError, OutputError
from ...evaluation import Evaluation
from ...export.to_gguf import export_lora
from ...files import write_atomically
from ...prompting.wording import PromptFile
from ...runs.record import installed_versions
from ...runs.splits import keep_apart
from ...schema import DDI, Schema
from ..batches import Example, make_batch, of_like_length
from ..heap import keep_freed_memory
from ..losses import LOSSES
from ..measure import find_mentions, score
from ..targets import TargetWriter, WrittenTargets
from .adapter import AdaptedModel, Lora, load_for_training, save_adapter, training_device, training_precision
from .also import check_also, write_also
from .callbacks import CheckGradients, KeepBest, SaveEverySteps, StatusLines
from .checkpoints import SCORE, best_epoch, is_finished, last_checkpoint, read_state
from .data import Log, check_types, every_kth, read, report_examples, require_examples
from .folder import CHECKPOINTS, RECORD_FILE, FinetuneSettings, TrainingRecord, prepare
from .memory_estimate import ModelShape, Workload, estimate, savings
from .selection import select
from .trainer import Tuner, collate
from .whole_model import Spellings, add_tag_tokens, check_whole, load_whole, save_whole

LORA_FILE = "adapter.gguf"
MEASURED_AT_ONCE = 16
"""Sentences at once when F1 is measured, unless --batch says how many."""


def finetune(settings: FinetuneSettings, out: Path, log: Log, *, resume: bool = False) -> TrainingRecord:
    """Train an adapter into the folder `out`. Raises UserError.

    resume: continue from the last checkpoint there, if any; the settings must be the same.
    """
    began_s = time.monotonic()
    if (inside := installed_file(settings.model)) is not None:
        settings = settings.model_copy(update={"model": str(inside)})
    check_whole(settings)
    check_also(settings)
    train, val = (read(path, log, settings.types) for path in (settings.train, settings.val))
    schema = Schema.load(settings.schema_file) if settings.schema_file else DDI
    prompt = PromptFile.named(settings.prompt)
    # Only to refuse a test set or shared sentences. Phrases that both files have are fine: the corpus's own
    # splits share some.
    keep_apart(train, val, used_path=settings.train, evaluated_path=settings.val, purpose="training")
    check_types(settings.train, train, schema, log)
    if (done := prepare(out, settings, resume)) is not None:
        log(f"{out}: this training is finished; nothing to do")
        return done
    config, tokenizer = load_tokenizer(settings.model, trust_remote_code=settings.trust_remote_code)
    spellings = add_tag_tokens(config, tokenizer, schema) if settings.tag_tokens else {}
    if template_of(tokenizer) is None:
        log(f"{settings.model}: has no chat template: messages are written one after another, a line each")
    writer = TargetWriter(
        vocabulary_of_model(settings.model, tokenizer, config),
        template_of(tokenizer),
        schema=schema,
        prompt=prompt,
        n_context=trained_length(config.get_text_config(decoder=True)),
        answer=settings.answer,
        occurrences=settings.occurrences,
    )
    written = writer.write_all(select(train, settings.select, settings.max_examples, settings.seed))
    written_val = writer.write_all(val)
    report_examples(written, settings.train, log)
    require_examples(written_val, settings.val)
    also = write_also(settings, schema, writer, log)
    written.examples.extend(also.examples)
    device = training_device(settings.device)
    if device.type == "cpu":
        keep_freed_memory()
    shape, workload = _plan(config, settings, device, written)
    log(f"memory: {estimate(shape, workload)}")
    measured = every_kth(val, settings.limit_val)
    with memory_errors(list(savings(shape, workload))):
        adapted = _load(settings, device, workload.checkpointing, tokenizer, spellings)
        card = AdapterCard.of(
            {"name": settings.model, **adapted.loaded.identity()},
            schema,
            prompt,
            template_of(tokenizer),
            loss=settings.loss,
            answer=settings.answer,
            occurrences=settings.occurrences,
        )
        log(_sizes(adapted))
        with quiet():
            tuner = _make_tuner(settings, out, adapted, card, written, written_val, log)
            n_at_once = settings.batch or MEASURED_AT_ONCE
            tuner.measure = lambda: _figures(_measure(tuner, adapted, card, measured, n_at_once))
            _train(tuner, settings, out, log)
    record = _record(settings, tuner, written, len(also.examples), len(measured), began_s)
    if tuner.is_world_process_zero():
        if is_gguf(settings.model):
            export_lora(settings.model, str(out), out / LORA_FILE, type="f16")
        write_atomically(out / RECORD_FILE, [record.model_dump_json(indent=2), "\n"])
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    return record


def _record(
    settings: FinetuneSettings, tuner: Tuner, written: WrittenTargets, n_also: int, n_val: int, began_s: float
) -> TrainingRecord:
    evaluations = [entry for entry in tuner.state.log_history if SCORE in entry]
    return TrainingRecord(
        settings=settings,
        n_examples=len(written.examples) - n_also,
        n_also=n_also,
        n_val=n_val,
        refused=dict(written.refused),
        dropped=written.dropped,
        epochs=evaluations,
        best=dict(best_epoch(evaluations)),
        elapsed_s=round(time.monotonic() - began_s, 1),
        peak_memory_bytes=peak_memory(training_device(settings.device)),
        versions=installed_versions(),
    )


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that this process has held, on the GPU or in main memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# ---- the model


def _plan(
    config: Any, settings: FinetuneSettings, device: torch.device, written: WrittenTargets
) -> tuple[ModelShape, Workload]:
    on_gpu = device.type == "cuda"
    question = LOSSES[settings.loss]
    if settings.batch is None:
        batches = of_like_length(written.examples, settings.batch_tokens)
    else:
        batches = [sorted(written.examples, key=lambda e: -len(e.ids))[: settings.batch]]
    workload = Workload(
        rank=settings.rank,
        quantize=settings.quantize,
        bytes_per_number=training_precision(device).itemsize,
        checkpointing=on_gpu if settings.checkpointing is None else settings.checkpointing,
        dropout=settings.dropout > 0,
        on_gpu=on_gpu,
        n_sequences=max(map(len, batches)),
        n_tokens=max(len(batch) * max(len(e.ids) for e in batch) for batch in batches),
        n_columns=max(len(e.ids) for e in written.examples),
        n_whole=max(len(question(make_batch(batch, pad=0)).whole_at) for batch in batches),
        full=settings.full,
    )
    return ModelShape.of(config, trust_remote_code=settings.trust_remote_code), workload


def _load(
    settings: FinetuneSettings,
    device: torch.device,
    checkpointing: bool,
    tokenizer: Any,
    spellings: Spellings,
) -> AdaptedModel:
    transformers.set_seed(settings.seed)
    if settings.full:
        return load_whole(settings, tokenizer, spellings, device=device, checkpointing=checkpointing)
    return load_for_training(
        settings.model,
        Lora(settings.rank, settings.alpha, settings.dropout, settings.targets),
        quantize=settings.quantize,
        device=device,
        checkpointing=checkpointing,
        trust_remote_code=settings.trust_remote_code,
    )


def _sizes(adapted: AdaptedModel) -> str:
    n_trained, n_all = adapted.parameter_counts()
    return f"training {n_trained} of {n_all} parameters ({n_trained / n_all:.1%}) on {adapted.loaded.device}"


@contextmanager
def memory_errors(ways: Sequence[str]) -> Iterator[None]:
    """Turn running out of memory into one sentence that says what would take less."""
    try:
        yield
    except (OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        advice = "; ".join(ways) or "choose a smaller model"
        raise OutOfMemoryError(f"out of memory ({first_line(error)[:120]}): {advice}") from None


# ---- training


def _make_tuner(
    settings: FinetuneSettings,
    out: Path,
    adapted: AdaptedModel,
    card: AdapterCard,
    train: WrittenTargets,
    val: WrittenTargets,
    log: Log,
) -> Tuner:
    require("tensorboard", "train")
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback

    device = adapted.loaded.device
    tokenizer = adapted.loaded.tokenizer
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0

    def write_best() -> None:
        try:
            if settings.full:
                save_whole(adapted.peft, tokenizer, out)
            else:
                save_adapter(adapted.peft, out)
        except (OSError, RuntimeError) as error:
            raise OutputError(f"{out}: cannot be written: {str(error).splitlines()[0]}") from None
        card.save(out)

    tuner = Tuner(
        model=adapted.peft,
        head=adapted.head,
        measure=dict,
        args=_arguments(settings, out, device),
        train_dataset=_grouped(train.examples, settings),
        eval_dataset=_grouped(val.examples, settings),
        data_collator=lambda groups: collate(groups, settings.loss, pad),
        callbacks=[
            StatusLines(log),
            KeepBest(write_best, settings.patience, log),
            SaveEverySteps(settings.save_steps),
        ],
    )
    tuner.add_callback(CheckGradients(tuner.check_gradients))
    if tuner.is_world_process_zero():
        board: Any = TensorBoardCallback
        tuner.add_callback(board(SummaryWriter(str(out / "tensorboard"))))
    return tuner


def _grouped(examples: Sequence[Example], settings: FinetuneSettings) -> list[list[Example]]:
    """What the Trainer shuffles: single examples with --batch, else whole batches of like length."""
    if settings.batch is not None:
        return [[example] for example in examples]
    return of_like_length(examples, settings.batch_tokens)


def _arguments(settings: FinetuneSettings, out: Path, device: torch.device) -> transformers.TrainingArguments:
    precision = training_precision(device)
    arguments = transformers.TrainingArguments(
        output_dir=str(out / CHECKPOINTS),
        per_device_train_batch_size=settings.batch or 1,
        per_device_eval_batch_size=settings.batch or 1,
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
        include_num_input_tokens_seen="all",
        remove_unused_columns=False,
        dataloader_pin_memory=device.type == "cuda",
        ddp_find_unused_parameters=False,
        label_names=["labels"],
        report_to=[],
        disable_tqdm=True,
    )
    if "LOCAL_RANK" not in os.environ and arguments.n_gpu > 1:
        # Within one process, torch would split a batch over the GPUs, and our places index the whole batch.
        arguments._n_gpu = 1
    return arguments


def _train(tuner: Tuner, settings: FinetuneSettings, out: Path, log: Log) -> None:
    last = last_checkpoint(out / CHECKPOINTS)
    if last is None:
        tuner.train()
        return
    if is_finished(last, settings.patience):
        tuner.state = read_state(last)
        return
    log(f"continuing from {last}")
    tuner.train(resume_from_checkpoint=str(last))


# ---- figures


def _measure(
    tuner: Tuner, adapted: AdaptedModel, card: AdapterCard, sentences: Sequence[Sentence], batch: int
) -> Evaluation:
    """Annotate as `bin/llm-NERC` will, each process its share, and score officially."""
    mine = sentences[tuner.args.process_index :: tuner.args.world_size]
    found = find_mentions(
        adapted.loaded,
        mine,
        schema=card.entity_schema,
        prompt=card.prompt,
        batch=batch,
        answer=card.answer,
        occurrences=card.occurrences,
    )
    if tuner.args.world_size > 1:
        found = gather_object(found)
    return score(sentences, found)


def _figures(evaluation: Evaluation) -> dict[str, float]:
    by_type = {f"f1_{name}": counts.f1 for name, counts in evaluation.by_type.items()}
    return {"micro_f1": evaluation.micro.f1, "macro_f1": evaluation.macro.f1, **by_type}
