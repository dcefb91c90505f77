"""Corpora in partitions on a Ray cluster: the bytes of a plain run, and nothing lost or doubled by deaths."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from constrained_ner.annotation.settings import Settings
from constrained_ner.data import Document
from constrained_ner.errors import InputError, MissingExtraError, OutputError, UserError
from constrained_ner.formats.documents import read_documents
from constrained_ner.runs import cluster as on_ray
from constrained_ner.runs import partitions as parts
from constrained_ner.runs.cluster import Cluster, annotate_on_cluster
from constrained_ner.runs.job import annotate_file
from constrained_ner.runs.partitions import write_partitions
from constrained_ner.runs.progress import ProgressDisplay
from constrained_ner.runs.record import RunRecord, record_path
from constrained_ner.runs.source import Input

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray.*"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # files that Ray leaves open
]

SENTENCES = (
    "Ketoconazole raises the levels of midazolam and other benzodiazepines. ",
    "Take 2 tablets of Panadol with water; warfarin was stopped. ",
    "No names here. ",
)


def texts(path: Path, n: int = 24) -> Path:
    lines = [{"id": f"t{i}", "text": f"Text {i}. " + SENTENCES[i % 3] * (1 + i % 2)} for i in range(n)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def joined(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("part-?????.jsonl")))


def test_without_ray_the_pip_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'constrained-ner\[ray\]'"):
        annotate_on_cluster(Input(texts(tmp_path / "a.jsonl")), tmp_path / "out", Settings(), Cluster())


def test_a_point_that_is_not_fitted_yet_is_refused(tmp_path: Path) -> None:
    asked = Settings(operating_point="auto")
    with pytest.raises(UserError, match="takes a point that is fitted already"):
        annotate_on_cluster(Input(texts(tmp_path / "a.jsonl")), tmp_path / "out", asked, Cluster())


# ---- partitions


def test_partitions_hold_what_was_read_in_order(tmp_path: Path) -> None:
    documents = list(read_documents(texts(tmp_path / "a.jsonl")))
    found = write_partitions(documents, tmp_path / "out", ".jsonl", n_characters=300)
    assert len(found) > 3
    assert [d for partition in found for d in read_documents(partition.input)] == documents


def test_documents_of_sentences_stay_whole(tmp_path: Path) -> None:
    documents = list(read_documents(Path("examples/sample.xml")))
    found = write_partitions(documents, tmp_path / "out", ".jsonl", n_characters=1)
    assert len(found) == len([d for d in documents if d.sentences])
    again = [d for partition in found for d in read_documents(partition.input)]
    assert [(d.id, [(s.id, s.text) for s in d]) for d in again] == [
        (d.id, [(s.id, s.text) for s in d]) for d in documents if d.sentences
    ]


def test_passages_are_refused(tmp_path: Path) -> None:
    one, two = Document.of_text("a", "Title"), Document.of_text("b", "Text")
    document = Document("d", (*one, *two), "Title Text", in_sentences=False)
    with pytest.raises(InputError, match="document 'd' consists of passages"):
        write_partitions([document], tmp_path / "out", ".jsonl")


# ---- on Ray


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A cluster of two nodes, with a processor each, to which nodes can be added."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    from ray.cluster_utils import Cluster as Nodes

    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    ray.nodes_of_test = nodes
    ray.workers_of_test = [nodes.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions of a few texts."""
    write = parts.write_partitions
    monkeypatch.setattr(on_ray, "write_partitions", lambda *asked: write(*asked, n_characters=300))


def plain_run(source: Path, output: Path) -> bytes:
    annotate_file(Input(source), output, Settings())
    return output.read_bytes()


@pytest.mark.usefixtures("small")
def test_partitions_have_the_bytes_of_a_plain_run_and_are_done_once(ray: Any, tmp_path: Path) -> None:
    source = texts(tmp_path / "a.jsonl")
    record = annotate_on_cluster(Input(source), tmp_path / "out", Settings(), Cluster())
    assert joined(tmp_path / "out") == plain_run(source, tmp_path / "plain.jsonl")
    plain = RunRecord.load(record_path(tmp_path / "plain.jsonl"))
    for name in ("n_sentences", "n_texts", "n_mentions", "n_mentions_by_type", "data_hash"):
        assert getattr(record, name) == getattr(plain, name), name
    records = [RunRecord.load(path) for path in (tmp_path / "out").glob("part-*.run.json")]
    assert record.n_passes == sum(part.n_passes for part in records)  # drafts learn within a partition
    assert record == RunRecord.load(tmp_path / "out.run.json")
    assert not (tmp_path / "out" / "input").exists()

    outputs = sorted((tmp_path / "out").iterdir())
    before = [path.stat().st_mtime_ns for path in outputs]
    annotate_on_cluster(Input(source), tmp_path / "out", Settings(), Cluster())
    assert [path.stat().st_mtime_ns for path in outputs] == before

    (tmp_path / "out" / "part-00002.jsonl").unlink()
    said = ProgressDisplay(stream=(stream := io.StringIO()))
    annotate_on_cluster(Input(source), tmp_path / "out", Settings(), Cluster(), progress=said)
    assert f"resuming: {len(records) - 1} of {len(records)} partitions already done" in stream.getvalue()
    assert joined(tmp_path / "out") == (tmp_path / "plain.jsonl").read_bytes()

    with pytest.raises(UserError, match="holds the result of another run"):
        annotate_on_cluster(Input(source), tmp_path / "out", Settings(min_confidence=0.9), Cluster())


@pytest.mark.usefixtures("small")
def test_partitions_of_another_corpus_are_refused_or_removed(ray: Any, tmp_path: Path) -> None:
    annotate_on_cluster(Input(texts(tmp_path / "a.jsonl", 24)), tmp_path / "out", Settings(), Cluster())
    less = texts(tmp_path / "b.jsonl", 12)
    with pytest.raises(OutputError, match=r"part-\d+.jsonl: is of another run"):
        annotate_on_cluster(Input(less), tmp_path / "out", Settings(), Cluster())
    annotate_on_cluster(Input(less), tmp_path / "out", Settings(), Cluster(), overwrite=True)
    assert joined(tmp_path / "out") == plain_run(less, tmp_path / "plain.jsonl")


@pytest.mark.usefixtures("small")
def test_a_node_that_dies_in_the_middle_loses_and_doubles_nothing(ray: Any, tmp_path: Path) -> None:
    source = texts(tmp_path / "a.jsonl", 400)
    victim = ray.workers_of_test.pop()

    def kill_when_some_are_done() -> None:
        while len(list((tmp_path / "out").glob("part-?????.jsonl"))) < 3:
            time.sleep(0.05)
        ray.nodes_of_test.remove_node(victim, allow_graceful=False)

    killer = threading.Thread(target=kill_when_some_are_done)
    killer.start()
    record = annotate_on_cluster(Input(source), tmp_path / "out", Settings(), Cluster())
    killer.join()
    ray.workers_of_test.append(ray.nodes_of_test.add_node(num_cpus=1))
    assert joined(tmp_path / "out") == plain_run(source, tmp_path / "plain.jsonl")
    assert record.n_texts == 400
    assert not list((tmp_path / "out").glob("*.journal*"))


@pytest.mark.usefixtures("small")
def test_an_actor_that_is_killed_is_replaced(ray: Any, tmp_path: Path) -> None:
    source = texts(tmp_path / "a.jsonl", 200)

    def kill_one() -> None:
        while len(list((tmp_path / "out").glob("part-?????.jsonl"))) < 2:
            time.sleep(0.05)
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if b"ray::MapWorker" in process.read_bytes():
                    os.kill(int(process.parent.name), signal.SIGKILL)
                    return
            except OSError:
                continue

    killer = threading.Thread(target=kill_one)
    killer.start()
    annotate_on_cluster(Input(source), tmp_path / "out", Settings(), Cluster())
    killer.join()
    assert joined(tmp_path / "out") == plain_run(source, tmp_path / "plain.jsonl")


def test_parquet_in_and_out(ray: Any, tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table({"id": ["a", "b"], "text": [SENTENCES[0], SENTENCES[1]]})
    parquet.write_table(table, tmp_path / "in.parquet")
    annotate_on_cluster(Input(tmp_path / "in.parquet"), tmp_path / "out", Settings(), Cluster(), to="parquet")
    rows = parquet.read_table(tmp_path / "out" / "part-00000.parquet").to_pylist()
    assert [row["id"] for row in rows] == ["a", "b"]
    assert [m["text"] for m in rows[0]["mentions"]] == ["Ketoconazole", "midazolam", "benzodiazepines"]


def test_a_model_that_does_not_load_is_one_clear_line(ray: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        annotate_on_cluster(
            Input(texts(tmp_path / "a.jsonl")), tmp_path / "out", Settings(model="no/such.gguf"), Cluster()
        )
    assert "no/such.gguf" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_than_the_cluster_has_is_refused(ray: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not enough for one model with 64"):
        annotate_on_cluster(
            Input(texts(tmp_path / "a.jsonl")), tmp_path / "out", Settings(), Cluster(cpus_per_model=64)
        )


def test_a_step_of_a_pipeline_adds_mentions(ray: Any) -> None:
    from constrained_ner.integrations.ray import Annotate

    rows = [{"note": SENTENCES[0], "n": 1}, {"note": "", "n": 2}, {"note": SENTENCES[1], "n": 3}]
    named = ray.data.from_items(rows).map_batches(
        Annotate,
        fn_constructor_kwargs={"text": "note"},
        compute=ray.data.ActorPoolStrategy(size=1),
        num_cpus=1,
    )
    found = {row["n"]: row for row in named.take_all()}
    assert [m["text"] for m in found[1]["mentions"]] == ["Ketoconazole", "midazolam", "benzodiazepines"]
    assert list(found[2]["mentions"]) == []
    assert found[3]["mentions"][0]["text"] == "Panadol"
    assert found[1]["failure"] is None
