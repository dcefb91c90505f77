"""The graph that is committed is the one that the code writes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import get_args

import pytest

onnx = pytest.importorskip("onnx")

from constrained_ner.annotation.annotator import bundled_model  # noqa: E402
from constrained_ner.backends.bundled_cpu.model_files import GGUF_KEY, Precision, graph_path  # noqa: E402
from constrained_ner.export.graph import write_graphs  # noqa: E402
from constrained_ner.files import file_hash  # noqa: E402


def test_the_graphs_that_ship_are_written_again_alike(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    shutil.copy(bundled_model(), model)
    for path, precision in zip(write_graphs(model), get_args(Precision), strict=True):
        written, shipped = (
            onnx.load(path, load_external_data=False),
            onnx.load(graph_path(bundled_model(), precision), load_external_data=False),
        )
        assert written.graph == shipped.graph
        assert {p.key: p.value for p in shipped.metadata_props} == {GGUF_KEY: file_hash(bundled_model())}


def test_what_ships_is_small() -> None:
    folder = bundled_model().parent
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) < 18_000_000
