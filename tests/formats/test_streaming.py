"""Memory does not grow with the file. benchmarks/reading_memory.py measures it on large ones."""

from __future__ import annotations

import json
import tracemalloc
from collections import deque
from pathlib import Path

import pytest

from constrained_ner.formats import FORMATS
from constrained_ner.formats.protocol import Reading

TEXT = "Take zinc. " * 100
LINE = json.dumps({"text": TEXT, "label": [[5, 9, "drug"]]})


def peak(path: Path, name: str) -> int:
    """Bytes that reading a file takes at most."""
    read = FORMATS[name].read
    assert read is not None
    tracemalloc.start()
    deque(read(path, Reading(notify=lambda _: None)), maxlen=0)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


@pytest.mark.parametrize(
    ("name", "file", "start", "record", "end"),
    [
        ("jsonl", "x.jsonl", "", f"{LINE}\n", ""),
        ("jsonl", "x.json", "[", f"{LINE},\n", f"{LINE}]"),
        ("csv", "x.csv", "n,text\n", f"1,{TEXT}\n", ""),
        ("text", "x.txt", "", f"{TEXT}\n\n", ""),
    ],
)
def test_a_file_four_times_as_long_takes_no_more_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: str, start: str, record: str, end: str
) -> None:
    monkeypatch.setattr("constrained_ner.formats.text.LONGEST_PART", 100_000)
    path = tmp_path / file
    peaks = []
    for n in (400, 1600):
        path.write_text(start + record * n + end)
        peaks.append(peak(path, name))
    assert path.stat().st_size > 1_600_000
    assert peaks[1] < peaks[0] + 300_000
