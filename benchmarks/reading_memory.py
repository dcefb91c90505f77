"""How much memory reading takes: a large file of each format that streams, each read in a process of its own.

    python benchmarks/reading_memory.py            # files of 100 MB, in a temporary folder
    python benchmarks/reading_memory.py --size 10

Prints the peak of memory (resident set) above what the process has before it reads.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from constrained_ner.formats import FORMATS
from constrained_ner.formats.protocol import Reading

PARAGRAPH = "Ketoconazole raises midazolam levels; see section 4.5 of the leaflet. " * 8


def json_lines() -> Iterator[str]:
    mention = {"start": 0, "end": 12, "text": "Ketoconazole", "type": "drug", "provenance": "gold"}
    while True:
        yield json.dumps({"text": PARAGRAPH, "mentions": [mention]}) + "\n"


def json_list() -> Iterator[str]:
    yield "["
    while True:
        yield json.dumps({"text": PARAGRAPH, "label": [[0, 12, "drug"]]}) + ",\n"


def text() -> Iterator[str]:
    while True:
        yield f"{PARAGRAPH}\n\n"


def text_of_one_line() -> Iterator[str]:
    while True:
        yield PARAGRAPH


def table() -> Iterator[str]:
    yield "id,text\n"
    n = 0
    while True:
        n += 1
        yield f'{n},"{PARAGRAPH}"\n'


def tokens() -> Iterator[str]:
    tagged = ["Ketoconazole\tB-drug", *(f"{word}\tO" for word in PARAGRAPH.split()[1:])]
    while True:
        yield "\n".join(tagged) + "\n\n"


FILES = {
    "lines.jsonl": ("jsonl", json_lines, ""),
    "list.json": ("jsonl", json_list, json.dumps({"text": "end"}) + "]\n"),
    "text.txt": ("text", text, ""),
    "one_line.txt": ("text", text_of_one_line, ""),
    "table.csv": ("csv", table, ""),
    "tokens.conll": ("conll", tokens, ""),
}


def write(path: Path, pieces: Iterator[str], end: str, size: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < size:
            file.writelines(piece for piece, _ in zip(pieces, range(1000), strict=False))
        file.write(end)


def read(path: Path, name: str) -> None:
    """Read a file, and print the documents, characters and memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    n_documents = n_characters = 0
    reader = FORMATS[name].read
    assert reader is not None
    for document in reader(path, Reading(notify=lambda _: None)):
        n_documents += 1
        n_characters += sum(len(sentence.text) for sentence in document)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    seconds = time.perf_counter() - started
    what = f"{n_documents:8} documents {n_characters:10} characters"
    print(f"{path.name:13} {what} {grown:6.1f} MB {seconds:6.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=100, help="megabytes of each file")
    parser.add_argument("--read", nargs=2, metavar=("FILE", "FORMAT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read(Path(options.read[0]), options.read[1])
        return
    with tempfile.TemporaryDirectory() as folder:
        for file, (name, pieces, end) in FILES.items():
            path = Path(folder, file)
            write(path, pieces(), end, options.size * 1_000_000)
            subprocess.run([sys.executable, __file__, "--read", path, name], check=True)
            path.unlink()


if __name__ == "__main__":
    main()
