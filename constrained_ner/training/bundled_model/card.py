"""Writes the bundled model's card: what it is, what it was trained on, and how well it does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template

import gguf

from ...annotation.annotator import Annotator
from ...annotation.result import Effort
from ...files import file_hash, write_atomically
from ...formats.ddi import read_ddi
from ..measure import score
from .trainer import StageSummary


def write_card(
    path: Path,
    model: Path,
    stages: Sequence[StageSummary],
    devel: Path | None,
    *,
    history: str = "",
    threads: int | None = None,
) -> None:
    """Write the card of a GGUF.

    devel: DDI XML to measure on, as a user would. history: what came before the stages, and
        after them.
    """
    template = resources.files("constrained_ner") / "templates" / "cards" / "bundled.md"
    content = Template(template.read_text(encoding="utf-8")).safe_substitute(
        **_shape(model),
        file=model.name,
        n_bytes=f"{model.stat().st_size:,}",
        sha256=file_hash(model),
        stages="\n".join(
            f"| {s.name} | {s.n_tokens / 1e6:.2f}M | {s.seconds / 60:.0f} | {s.rate:g} "
            f"| {s.decision:.3f} | {s.copy:.2f} |"
            for s in stages
        ),
        history=history,
        figures=_figures(model, devel, threads) if devel else "Not measured.",
    )
    write_atomically(path, [content])


def _shape(model: Path) -> dict[str, str]:
    reader = gguf.GGUFReader(model)

    def field(name: str) -> int:
        return int(reader.fields[f"llama.{name}"].contents())

    return {
        "n_parameters": f"{sum(int(t.n_elements) for t in reader.tensors):,}",
        "n_hidden": str(field("embedding_length")),
        "n_layers": str(field("block_count")),
        "n_heads": str(field("attention.head_count")),
        "n_feed_forward": str(field("feed_forward_length")),
        "n_context": f"{field('context_length'):,}",
        "n_tokens": f"{len(reader.fields['tokenizer.ggml.tokens'].contents()):,}",
    }


def _figures(model: Path, devel: Path, threads: int | None) -> str:
    documents = read_ddi(devel)
    sentences = [s for document in documents for s in document]
    with Annotator.load(model, threads=threads) as ner:
        began_s = time.perf_counter()
        results = list(ner.run(sentences, doubtful=True))
        each = iter(results)
        found = [s for d in documents for s in ner.agreed([next(each).sentence for _ in d])]
        elapsed_s = time.perf_counter() - began_s
        weighing = Annotator(ner.backend, ner.settings, legal_mass=True)
        effort = sum((r.effort for r in weighing.run(sentences, doubtful=True)), Effort())
    evaluation = score(sentences, found)
    n = len(sentences)
    legal_percent = 100 * (effort.legal_mass or 0.0) / max(1, effort.n_decisions)
    table = "\n".join(f"    {line}" for line in evaluation.table().splitlines())
    return (
        f"{devel.name}, {n:,} sentences, exact span and type, `bin/llm-NERC {devel.name} out` and "
        f"`bin/evaluate {devel.name} out`:\n\n{table}\n\n"
        f"{n / elapsed_s:.1f} sentences per second, {effort.n_passes / n:.2f} forward passes per sentence; "
        f"{legal_percent:.1f} % of the probability at the decisions is on legal tokens."
    )
