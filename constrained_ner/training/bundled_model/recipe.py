"""Trains the bundled model, from data files to GGUF, in stages. A stopped run can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...annotation.annotator import Annotator
from ...backends.transformers.model import LoadedModel
from ...data import Sentence
from ...errors import ModelError, OutputError, UserError
from ...export.graph import write_graphs
from ...formats.ddi import read_ddi
from ..measure import find_mentions, score
from .bias_into_weights import add_bias
from .card import write_card
from .copying_weights import copying_weights
from .corpus import Corpus, read_corpus, read_gold, tokenizer_texts
from .first_rows import rows_read_by
from .log_file import LogFile
from .marking import marked_by
from .marks import read_marks
from .model import ModelSize, load_weights, new_model, size_of
from .save import save_gguf, save_transformers
from .soft_targets import seen_alike
from .stages import BATCH_TOKENS, OF_ALL, OF_BATCH, Budgets, make_stages
from .teaching import teach
from .tokenizer import ModelTokenizer, train_tokenizer
from .trainer import Stage, Trainer

MODEL_FILE = "constrained-ner-bundled.gguf"
TRANSFORMERS_FOLDER = "transformers"
BIAS_STEP = 4
"""Fit the bias on every k-th gold sentence, which is enough to see where tags may open."""
MEASURED_AT_ONCE = 48


def train(
    data: Path,
    out: Path,
    *,
    minutes: Budgets = (10.0, 60.0, 30.0),
    tokens: tuple[int, int, int] | None = None,
    devel: Path | None = None,
    fold: int | None = None,
    n_measured: int = 300,
    gold: bool = True,
    start_from: Sequence[Path] = (),
    teacher: str | None = None,
    soft: bool = True,
    adapter: Path | None = None,
    marks: Path | None = None,
    n_taught: int = 20_000,
    vocabulary: int = 8000,
    names_in_vocabulary: int = 0,
    feed_forward: int | None = None,
    rows_from: str | None = None,
    of_batch: bool = False,
    listed: float = 0.0,
    batch_tokens: int = BATCH_TOKENS,
    bias: Mapping[str, float] | None = None,
    resume: bool = False,
    feeders: int = 0,
    device: str = "cpu",
    compiled: bool | None = None,
    threads: int | None = None,
    seed: int = 0,
) -> None:
    """Train tokenizer and model, export them, and write a model card with the scores on `devel`.

    data: folder with ddi/, text/, ner/ and lexicon/. out: folder for tokenizer, checkpoint, log and models.
    minutes: budgets of the three stages: copying, mixture, gold. Without the first one, new weights copy by
        construction. tokens: the budgets in tokens instead, which makes a run repeatable to the bit.
    devel: DDI XML to measure on: `n_measured` sentences (0 for all) after each stage, all of them at the end.
    fold: leave this fold of the gold documents out (see `evaluation.folds`), and measure on it instead; what
        it starts from, and its teacher, must have done the same.
    gold: learn from the annotated documents. Otherwise nothing comes from them, neither tokenizer nor
        lexicon, so that a training for any fold may start from what is learnt (what it starts from itself
        must not know them, either). There is no last stage then.
    start_from: earlier `out` folders with the same tokenizer; training starts from the mean of their weights.
    teacher: model that marks `n_taught` sentences of the text, as `Annotator.load` takes it.
    adapter: of peft, for the teacher and for `rows_from`.
    soft: its probabilities are the targets; otherwise its mentions, corrected by the lexicon.
    marks: where the probabilities are kept; None for `out`/marks.jsonl. Without a teacher, they are read.
    vocabulary: tokens of a new tokenizer. names_in_vocabulary: how many times it is shown each public name.
    feed_forward: width of the feed-forward layers of a new model; None for that of `ModelSize`.
    rows_from: a large model whose knowledge of each token the first rows of the embeddings get.
    of_batch: copying and the text of prompts are learnt against the tokens of the batch (see
        `losses.Weights`): the rows of words that it does not have stay as they are.
    listed: share of the last stage that is lists of names from the lexicon, below 1.
    batch_tokens: tokens of a batch in the last two stages; the rates grow as the root of it.
    bias: type -> number to add to the logit of opening it at the end (see `bias_into_weights`).
    feeders: processes that make the batches ahead of the training; they change no weight.
    compiled: use torch.compile; None does so on a GPU, where training is in bfloat16 too.
    Raises UserError.
    """
    if fold is not None and devel is not None:
        raise UserError("--fold measures on the fold that it leaves out; leave --devel out, too")
    if not gold:
        if (tokens or minutes)[2]:
            raise UserError("--no-gold has no gold stage: give it no budget, such as --minutes 10 60 0")
        if fold is not None:
            raise UserError("--no-gold leaves every fold out; leave --fold out, too")
        if teacher or marks or adapter:
            raise UserError("--no-gold takes no --teacher, --marks or --adapter: they know the gold")
        if listed or bias:
            raise UserError("--listed and --bias belong to the gold stage, which --no-gold does not have")
    if threads:
        torch.set_num_threads(threads)
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists() and not resume:
        raise OutputError(
            f"{checkpoint}: already exists; pass --resume to continue from it, or choose another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    log = LogFile(out / "train.log")
    tokenizer = _tokenizer(
        out,
        start_from,
        lambda: tokenizer_texts(data, gold=gold, fold=fold, n_names=names_in_vocabulary),
        vocabulary,
    )
    model = _first_model(tokenizer, start_from, feed_forward, seed)
    if not (start_from or checkpoint.exists()):
        if rows_from:
            rows = rows_read_by(rows_from, adapter, tokenizer, model.config.hidden_size, device)
            model.model.embed_tokens.weight.data.copy_(rows)
        if not (tokens or minutes)[0]:
            copying_weights(model, seed)
    model = model.to(device)
    log(f"parameters {sum(p.numel() for p in model.parameters())}, tokens {tokenizer.n_tokens}")
    corpus = read_corpus(data, gold=gold, fold=fold, seed=seed)
    if teacher:
        with Annotator.load(teacher, adapter=adapter, threads=threads, min_confidence=0.0) as ner:
            corpus = _taught(ner, corpus, n_taught, out, marks, soft=soft, seed=seed)
    elif marks:
        corpus = replace(corpus, marked=tuple(seen_alike(read_marks(marks))))
    if teacher or marks:
        log(f"{len(corpus.marked or corpus.tagged)} sentences marked by {teacher or marks}")
    taught = teacher is not None and not soft
    stages = make_stages(
        tokenizer,
        corpus,
        minutes,
        tokens,
        taught=taught,
        listed=listed,
        weights=OF_BATCH if of_batch else OF_ALL,
        batch_tokens=batch_tokens,
    )
    measured = _measured(data, fold, devel, n_measured)

    def after_stage(stage: Stage) -> None:
        save(model, tokenizer, out)
        if measured and stage.weights.decision:
            found = find_mentions(in_memory(model, tokenizer, out), measured, batch=MEASURED_AT_ONCE)
            log(f"after {stage.name}:\n{score(measured, found).table()}")

    trainer = Trainer(
        model,
        tokenizer.pad,
        seed=seed,
        checkpoint=checkpoint,
        compiled=model.device.type == "cuda" if compiled is None else compiled,
        warm_up_steps=20 if start_from or (tokens or minutes)[0] else 100,
        n_feeders=feeders,
        log=log,
    )
    trainer.run(stages, after_stage)
    if bias:
        spread = add_bias(model, tokenizer, corpus.gold[::BIAS_STEP], bias)
        log("; ".join(f"{name} {bias[name]:+g}, give or take {spread[name]:.2f}" for name in bias))
        save(model, tokenizer, out)
    teacher = teacher or (str(marks) if marks else None)
    history = _history(start_from, fold, teacher, soft, listed, bias, gold=gold)
    card = out / "MODEL_CARD.md"
    write_card(card, out / MODEL_FILE, trainer.finished, devel, history=history, threads=threads)
    log(f"written: {out / MODEL_FILE}, {card}")


def save(model: Any, tokenizer: ModelTokenizer, out: Path) -> None:
    """Write the GGUF in Q8_0 with its graphs, the GGUF in float32, and the folder for transformers."""
    save_gguf(model, tokenizer, out / MODEL_FILE)
    write_graphs(out / MODEL_FILE)
    save_gguf(model, tokenizer, out / "f32.gguf", precision="f32")
    save_transformers(model, tokenizer, out / TRANSFORMERS_FOLDER)


def in_memory(model: Any, tokenizer: ModelTokenizer, out: Path) -> LoadedModel:
    """Present the model in training to a back end that takes models in memory. out: where `save` wrote it."""
    return LoadedModel(
        name=str(out / TRANSFORMERS_FOLDER),
        adapter=None,
        model=model,
        tokenizer=tokenizer.for_transformers(),
        config=model.config,
        device=model.device,
        precision="float32",
    )


def _tokenizer(
    out: Path, start_from: Sequence[Path], texts: Callable[[], Iterable[str]], size: int
) -> ModelTokenizer:
    """Take the tokenizer of earlier trainings, or this one's own; without any, train one."""
    path = out / "tokenizer.json"
    if start_from:
        first, *others = start_from
        for other in others:
            if (other / "tokenizer.json").read_bytes() != (first / "tokenizer.json").read_bytes():
                raise ModelError(f"{other / 'tokenizer.json'}: not the same tokenizer as in {first}")
        ModelTokenizer.load(first / "tokenizer.json").save(path)
    elif not path.exists():
        train_tokenizer(texts(), size=size).save(path)
    return ModelTokenizer.load(path)


def _first_model(
    tokenizer: ModelTokenizer, start_from: Sequence[Path], feed_forward: int | None, seed: int
) -> Any:
    """Make the model that training begins with: random weights, or the mean of earlier ones."""
    torch.manual_seed(seed)
    earlier = [folder / TRANSFORMERS_FOLDER for folder in start_from]
    size = size_of(earlier[0]) if earlier else ModelSize()
    if feed_forward:
        if earlier and size.n_feed_forward != feed_forward:
            raise UserError(f"--feed-forward {feed_forward}: {earlier[0]} has {size.n_feed_forward}")
        size = replace(size, n_feed_forward=feed_forward)
    model = new_model(size, tokenizer)
    if earlier:
        load_weights(model, earlier)
    return model


def _taught(
    teacher: Annotator,
    corpus: Corpus,
    n: int,
    out: Path,
    marks: Path | None,
    *,
    soft: bool,
    seed: int,
) -> Corpus:
    """Let the teacher mark text: text with its probabilities for the corpus, or other tagged text."""
    rng = np.random.default_rng(seed)
    if soft:
        found = marked_by(teacher, corpus.tagged, n, marks or out / "marks.jsonl", rng)
        return replace(corpus, marked=tuple(seen_alike(found)))
    taught = teach(teacher, corpus.tagged, n, out / "taught.jsonl", rng)
    return replace(corpus, tagged=tuple(taught))


def _history(
    start_from: Sequence[Path],
    fold: int | None,
    teacher: str | None,
    soft: bool,
    listed: float,
    bias: Mapping[str, float] | None,
    *,
    gold: bool,
) -> str:
    """Say for the model's card what came before the stages, and after them."""
    lines = []
    if start_from:
        names = " and ".join(f"`{folder.name}`" for folder in start_from)
        lines.append(
            f"Training began with the mean weights of {len(start_from)} earlier training(s): {names}."
        )
    if not gold:
        lines.append("The annotated documents were left out of everything.")
    if fold is not None:
        lines.append(f"Fold {fold} of the gold documents was left out, to measure on.")
    if teacher:
        by = "its probabilities were the targets" if soft else "the lexicon corrected its mentions"
        lines.append(f"Text was marked (`{Path(teacher).name}`); {by}.")
    if listed:
        lines.append(f"{listed:.0%} of the last stage was lists of names.")
    if bias:
        added = ", ".join(f"{name} {number:+g}" for name, number in bias.items())
        lines.append(
            f"After the stages, {added} was added to the logits of opening these types, in the weights."
        )
    return "\n".join(lines)


def _measured(data: Path, fold: int | None, devel: Path | None, n: int) -> list[Sentence]:
    """Take every k-th sentence, so that all documents are represented."""
    if devel is None and fold is None:
        return []
    documents = read_ddi(devel) if devel else read_gold(data, fold)[1]
    sentences = [s for document in documents for s in document]
    return sentences[:: max(1, len(sentences) // n)] if n else sentences
