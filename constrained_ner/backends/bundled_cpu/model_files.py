"""The files of a model that runs without a compiler: a GGUF, and beside it one graph for each precision."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Precision = Literal["int8", "float32"]

GGUF_KEY = "constrained_ner.gguf_sha256"
"""Metadata of a graph: the SHA-256 of the GGUF that it belongs to."""

MIDDLE = 128
"""The byte that means zero in quantised rows."""


def graph_path(model: str | Path, precision: Precision) -> Path:
    """Example: `folder/model.gguf` -> `folder/model.int8.onnx`"""
    return Path(model).with_suffix(f".{precision}.onnx")
