"""examples/quickstart.ipynb runs from its first cell to its last, and sentences show themselves in it."""

from __future__ import annotations

import json
import os
import re
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient", reason="needs the extra dev: nbclient")
nbformat = pytest.importorskip("nbformat", reason="needs the extra dev: nbclient")
pytest.importorskip("ipykernel", reason="needs the extra dev: ipykernel")

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The cells of the notebook after it has run, in a folder that is not the project's."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if not entry_points(group="spacy_factories", name="constrained_ner"):  # not installed since it has them
        notebook.cells.insert(2, nbformat.v4.new_code_cell("import constrained_ner.integrations.spacy"))
    folder = tmp_path_factory.mktemp("notebook")
    # Kernels are found by name; the one of this Python is made for this test.
    kernel = folder / "share" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "share"))
        patch.setenv("PYTHONPATH", path)
        client = nbclient.NotebookClient(
            notebook, timeout=600, startup_timeout=300, resources={"metadata": {"path": str(folder)}}
        )
        client.execute()
    return list(notebook.cells)


def output_of(cells: list[Any], source: str) -> list[Any]:
    (cell,) = (cell for cell in cells if cell.cell_type == "code" and source in cell.source)
    return list(cell.outputs)


def html_of(cells: list[Any], source: str) -> str:
    (output,) = output_of(cells, source)
    return str(output["data"]["text/html"])


def test_sentences_and_documents_show_themselves(cells: list[Any]) -> None:
    html = html_of(cells, 'annotate("Ketoconazole')
    assert html.count("<mark") == 3
    assert "Ketoconazole<small> drug</small></mark>" in html
    assert "benzodiazepines<small> group</small></mark>" in html
    assert "confidence" in html
    assert html_of(cells, "annotate_document(text)").count("<mark") >= 5


def test_hostile_text_stays_text(cells: list[Any]) -> None:
    html = html_of(cells, "alert(1)")
    assert "<script" not in html
    unmarked = re.sub(r"<mark[^>]*>|<small>[^<]*</small>|</mark>", "", html)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;amp; " in unmarked
    assert "\\u202e</span>" in html


def test_a_data_frame_and_spacy_have_the_same_names(cells: list[Any]) -> None:
    frame = html_of(cells, "to_dataframe")
    (printed,) = output_of(cells, "add_pipe")
    for name in ("Warfarin", "fluconazole", "NSAIDs", "diuretics"):
        assert name in frame
        assert name in printed["text"]


def test_it_is_kept_without_outputs_and_installs_itself() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "%pip install -q constrained-ner" in code[0].source
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
