"""First rows of the embeddings, read by a large model: a small model then knows what words are alike.

The large model reads each token of the small one by itself. Its states after the last piece, at a few
depths, say what it knows of the word. They are reduced to the small model's width (principal components,
evened out by half, so that rare properties count too). Rows of bytes that are no text stay random.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...annotation.settings import Settings
from ...annotation.shipped import as_shipped
from ...backends.installed import installed_file
from ...backends.transformers.gguf_base import GgufTokenizer
from ...backends.transformers.model import load_model
from ...backends.transformers.vocabulary import vocabulary_of_tokenizer
from ...vocabulary import Vocabulary
from .tokenizer import ModelTokenizer

DEPTHS = (1 / 3, 2 / 3)
"""Where to look, as shares of the layers; the mean of the pieces' own embeddings is a third place."""

AT_ONCE = 256
SCALE = 0.02
"""Root mean square of the rows, as that of random ones."""


def rows_read_by(
    name: str, adapter: Path | None, tokenizer: ModelTokenizer, width: int, device: str = "cpu"
) -> Tensor:
    """The rows that a model gives: a GGUF file or a folder, with an adapter of peft, or a name that ships.

    Of a model that ships only the base is used: transformers cannot read its adapter.
    """
    base = as_shipped(Settings(model=name)).model or name
    loaded = load_model(
        str(installed_file(base) or base),
        adapter=None if adapter is None else str(adapter),
        quantize=None,
        device=device,
        dtype="auto",
        trust_remote_code=False,
    )
    begin = getattr(loaded.config.get_text_config(), "bos_token_id", None)
    prefix_ids = [] if begin is None else [int(begin)]
    theirs = loaded.tokenizer
    known = theirs.vocabulary if isinstance(theirs, GgufTokenizer) else vocabulary_of_tokenizer(theirs)
    return first_rows(tokenizer, loaded.model, known, prefix_ids, width)


def first_rows(
    tokenizer: ModelTokenizer, reader: Any, vocabulary: Vocabulary, prefix_ids: list[int], width: int
) -> Tensor:
    """The rows for a small model of this width. Shape: (tokens, width).

    reader: a causal language model of transformers. vocabulary: its own. prefix_ids: what comes before a
        text.
    """
    texts = {i: piece for i in range(tokenizer.n_text_tokens) if (piece := _text(tokenizer, i))}
    pieces = {i: ids for i, text in texts.items() if (ids := vocabulary.encode(text))}
    read = sorted(pieces, key=lambda i: (len(pieces[i]), i))
    states = np.concatenate(list(_states(reader, prefix_ids, [pieces[i] for i in read])))
    rows = np.random.default_rng(0).normal(0.0, SCALE, (tokenizer.n_tokens, width)).astype(np.float32)
    rows[read] = reduced(states, width)
    return torch.from_numpy(rows)


def reduced(states: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """The principal components of the standardised states, each divided by the root of its deviation.

    Shape: (n, n_states) -> (n, width).
    """
    even = (states - states.mean(0)) / (states.std(0) + 1e-6)
    variances, directions = np.linalg.eigh(even.T @ even / len(even))
    width_there = min(width, len(variances))
    variances, directions = variances[-width_there:], directions[:, -width_there:]
    found = np.zeros((len(states), width), dtype=np.float32)
    found[:, :width_there] = even @ directions / np.maximum(variances, 1e-9) ** 0.25
    found *= np.float32(SCALE / np.sqrt((found**2).mean()))
    return found


def _text(tokenizer: ModelTokenizer, token_id: int) -> str:
    """What a token spells; empty for a part of a character."""
    try:
        return tokenizer.vocabulary.token_bytes[token_id].decode()
    except UnicodeDecodeError:
        return ""


@torch.inference_mode()
def _states(reader: Any, prefix_ids: list[int], texts: list[list[int]]) -> Iterator[NDArray[np.float32]]:
    """What the reader makes of texts, in order; those of a length come together. Shape: (n, n_states)."""
    n_layers = reader.config.get_text_config().num_hidden_layers
    depths = [max(1, round(share * n_layers)) for share in DEPTHS]
    for _, group in groupby(texts, key=len):
        of_a_length = list(group)
        for start in range(0, len(of_a_length), AT_ONCE):
            ids = torch.tensor([[*prefix_ids, *text] for text in of_a_length[start : start + AT_ONCE]])
            hidden = reader.base_model(
                input_ids=ids.to(reader.device), use_cache=False, output_hidden_states=True
            ).hidden_states
            own = hidden[0][:, len(prefix_ids) :].mean(1)
            yield torch.cat([own, *(hidden[d][:, -1] for d in depths)], 1).float().cpu().numpy()
