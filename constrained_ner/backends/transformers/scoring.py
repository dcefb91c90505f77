"""Scores of watched positions, computed on the device of the logits: only the watched ones leave it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch

from ...errors import ModelError
from ..protocol import Scores
from ..scoring import NOT_NUMBERS, scores_of


def score_on_device(
    logits: torch.Tensor, watches: Sequence[Sequence[int]], summaries: Sequence[bool]
) -> list[Scores]:
    """What `scoring.score_rows` does, on the device of the logits; shape (positions, vocabulary)."""
    lengths = [len(watch) for watch in watches]
    rows = torch.from_numpy(np.repeat(np.arange(len(watches)), lengths)).to(logits.device)
    columns = torch.tensor(list(chain.from_iterable(watches)), dtype=torch.int64).to(logits.device)
    picked = logits[rows, columns].float().cpu().numpy()
    wanted = np.flatnonzero(summaries).tolist()
    numbers = (logits if len(wanted) == len(watches) else logits[wanted]).float()
    sums = torch.logsumexp(numbers, dim=-1).cpu()
    if not (np.isfinite(picked).all() and bool(torch.isfinite(sums).all())):
        raise ModelError(NOT_NUMBERS)
    best = numbers.argmax(dim=-1).tolist() if wanted else []
    return scores_of(picked, lengths, wanted, sums.tolist(), best)
