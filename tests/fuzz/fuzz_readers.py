"""Spoils files of every format at random, reads them, and writes what was read in every format.

    python tests/fuzz/fuzz_readers.py [--seed N] [--seconds 900] [--only jsonl] [--keep FOLDER]

Prints the number of cases of each format and each kind of fault once; exit code 1 if there are any. A case is
known by its seed: the same seed gives the same cases, however many are run.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from invariants import WRITABLE, Fault, check, check_results
from mutations import NAMES, mutated
from starting_files import OWN, Input, real_inputs

_MEMORY = 3 << 30  # bytes of address space above what is needed to begin with


@dataclass(slots=True)
class Campaign:
    """The cases that were run, and the faults that were found: kind -> the first case of it."""

    cases: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    n_of_kind: Counter[str] = field(default_factory=Counter)

    def run(self, kind: str, inputs: list[Input], seed: int, keep: Path | None = None) -> None:
        """One case. kind: of the inputs, of which one is chosen and spoiled."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name, "case")
            choices = random.Random(f"{kind} {seed}")
            path = spoiled(folder / "input", inputs, choices)
            write = choices.sample(WRITABLE, 3)
            try:
                outcome = check_results(folder, path) if kind == "results" else check(folder, path, write)
            except Fault as fault:
                outcome = "fault"
                self.n_of_kind[fault.kind] += 1
                if fault.kind not in self.faults:
                    self.faults[fault.kind] = f"{kind}, seed {seed}: {fault}"
                    if keep is not None:
                        shutil.copytree(folder, keep / f"{len(self.faults):03}", dirs_exist_ok=True)
            self.cases[kind, outcome] += 1

    def report(self) -> str:
        rows = ["kind                  cases    read refused  faults"]
        for kind in sorted({kind for kind, _ in self.cases}):
            read, refused, fault = (self.cases[kind, outcome] for outcome in ("read", "refused", "fault"))
            rows.append(f"{kind:20} {read + refused + fault:6} {read:7} {refused:7} {fault:7}")
        rows.append(f"{sum(self.cases.values())} cases, {len(self.faults)} kinds of faults")
        return "\n".join(rows)


def spoiled(folder: Path, inputs: list[Input], choices: random.Random) -> Path:
    """Write one of the inputs to a folder, spoiled; the file to read, or the folder."""
    files = dict(choices.choice(inputs))
    chosen = choices.choice(sorted(files))
    files[chosen] = mutated(choices, files[chosen])
    if choices.random() < 0.05:
        stem = choices.choice(NAMES)
        files = {f"{stem}{number or ''}{Path(name).suffix}": files[name] for number, name in _numbered(files)}
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder if len(files) > 1 or choices.random() < 0.1 else folder / next(iter(files))


def _numbered(files: Input) -> Iterator[tuple[int, str]]:
    """The names with numbers that files of one stem share."""
    stems = sorted({name.split(".")[0] for name in files})
    return ((stems.index(name.split(".")[0]), name) for name in files)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", help="one kind of inputs, such as jsonl or 'real brat'")
    parser.add_argument("--case", type=int, help="run the case with this seed alone")
    parser.add_argument("--keep", type=Path, help="folder for the first case of each kind of fault")
    options = parser.parse_args()
    inputs = {**OWN, **real_inputs()}
    kinds = [kind for kind in inputs if options.only in (None, kind)]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
    campaign = Campaign()
    end = time.monotonic() + options.seconds
    for seed in [options.case] if options.case is not None else count(options.seed * 1_000_000):
        for kind in kinds:
            known = len(campaign.faults)
            campaign.run(kind, inputs[kind], seed, options.keep)
            for fault in list(campaign.faults.values())[known:]:
                print(f"FAULT {fault}\n", flush=True)
        if time.monotonic() > end:
            break
    print(campaign.report())
    for fault_kind, n in campaign.n_of_kind.most_common():
        print(f"{n:6} {fault_kind}")
    sys.stdout.flush()
    os._exit(bool(campaign.faults))


if __name__ == "__main__":
    main()
