"""torch and transformers, imported and kept quiet; what they raise, in one sentence."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import MissingExtraError, ModelError, OutOfMemoryError

try:
    import torch
    import transformers
except ImportError as error:
    raise MissingExtraError(error.name or "transformers", "transformers") from None

_TALKATIVE = ("huggingface_hub", "bitsandbytes", "peft", "accelerate", "kernels")
"""Loggers of libraries. The hub logs each of its retries, bitsandbytes what it would rather have."""

_NO_MEMORY = re.compile(r"(out of|enough|allocate) memory", re.IGNORECASE)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what libraries print: bars, reports, warnings. What matters is raised as an error.

    Warnings of this package are shown.
    """
    log: Any = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("default", module=r"constrained_ner\b")
            yield
    finally:
        for logger, logger_level in zip(loggers, levels, strict=True):
            logger.setLevel(logger_level)
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what transformers, the hub and safetensors raise into a ModelError of one sentence."""
    try:
        yield
    except (ModelError, MissingExtraError):
        raise
    except ImportError as error:
        raise ModelError(f"{name}: cannot be loaded: {_first_sentence(error)}") from None
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(f"{name}: out of memory while loading: {first_line(error)}") from None
        text = str(error)
        if "gated" in text.lower():
            reason = "the model is gated: accept its terms on the hub and log in (hf auth login)"
        elif "trust_remote_code" in text:
            reason = "the model brings its own code, which runs only with --trust-remote-code"
        elif isinstance(error, OSError) and not Path(name).exists():
            reason = (
                "no such model on the hub, or the hub cannot be reached and the model is not in its cache"
            )
        else:
            reason = f"cannot be loaded: {_first_sentence(error)}"
        raise ModelError(f"{name}: {reason}") from None


def is_out_of_memory(error: BaseException) -> bool:
    """On the processor, torch raises a plain RuntimeError, which only its message tells apart."""
    known = isinstance(error, (OutOfMemoryError, MemoryError, torch.OutOfMemoryError))
    return known or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None)


def first_line(error: BaseException) -> str:
    """The first line of an error's message; the name of its class if the message is empty."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _first_sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
