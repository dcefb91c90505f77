"""Both real models through every path, each once, as commands that a user would type.

    export PYTHONPATH=.:tests/support
    python tests/real_models/every_path.py --work real [--only smollm2] [--sentences 4]

The models are SmolLM2-135M-Instruct and Gemma 3 270M (extras smollm2 and gemma3), as GGUF files and as
transformers folders that are written from them. For both forms of the answer:

    few-shot with copy-draft, stepwise and unconstrained; both constrained decoders must find the same
    two steps of fine-tuning, and the adapter in use (with the GGUF file, its GGUF LoRA)
    export of the folder with its adapter, and of the adapter alone, and both in use

Prints a line for each path, and writes WORK/paths.json as they come. What fails is said; the rest goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf_folders import as_folder
from installed_models import GEMMA3, SMOLLM2

from constrained_ner.backends.installed import installed_file
from constrained_ner.cli.start import main as constrained_ner
from constrained_ner.errors import MissingExtraError

ROOT = Path(__file__).parents[2]
SAMPLE, SHOTS = ROOT / "examples" / "sample.xml", ROOT / "examples" / "shots.xml"
MODELS = {"smollm2": SMOLLM2, "gemma3": GEMMA3}
ANSWERS = ("tags", "list")
TYPES = ("drug", "brand", "group", "drug_n")


class CommandError(Exception):
    """A command did not end well; what it said."""


def run(*arguments: str) -> None:
    """A command of the package, in this process. Raises CommandError."""
    said = io.StringIO()
    before, sys.argv = sys.argv, ["constrained-ner", *arguments]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            constrained_ner()
    except SystemExit as end:
        if end.code:
            raise CommandError(said.getvalue().strip() or f"ended with {end.code}") from None
    finally:
        sys.argv = before


@dataclass
class Paths:
    """The paths of one model, and what came of them.

    here: where the files go. seen: what came of the paths of all models.
    """

    name: str
    gguf: Path
    here: Path
    answers: Sequence[str]
    n_sentences: int
    seen: dict[str, Any]

    def __post_init__(self) -> None:
        self.folder, self.plain = self.here / "folder", self.here / "plain.gguf"

    def run_all(self) -> Iterator[str]:
        """A line for each path, as it ends."""
        if not (self.folder / "config.json").exists():
            as_folder(self.gguf, self.folder)
        command = ["export-gguf", "--model", str(self.folder), "--force", "--quiet", "--type", "q8_0"]
        yield self.command("export of the folder", [*command, "--out", str(self.plain)])
        for answer in self.answers:
            for kind, model in (("gguf", self.gguf), ("transformers", self.folder)):
                yield from self.few_shot(answer, kind, model)
                yield from self.tuned(answer, kind, model)
            yield from self.exported(answer)

    def few_shot(self, answer: str, kind: str, model: Path) -> Iterator[str]:
        examples = ["--shots", "5", "--examples", str(SHOTS)]
        for decoder in ("copy-draft", "stepwise", "unconstrained"):
            if decoder == "unconstrained":
                option = ["--unconstrained"]
            else:  # by itself, neither model opens a tag
                bias = [f"--bias={name}=2" for name in TYPES] if answer == "tags" else []
                option = ["--decoder", decoder, *bias]
            yield self.annotated(f"{answer} {kind} {decoder}", model, "--answer", answer, *examples, *option)
        drafted, stepwise = (
            self.here / f"{answer}-{kind}-{decoder}.out" for decoder in ("copy-draft", "stepwise")
        )
        if drafted.exists() and stepwise.exists():
            same = drafted.read_bytes() == stepwise.read_bytes()
            yield self.done(f"{answer} {kind} copy-draft as stepwise", {"same": same})

    def tuned(self, answer: str, kind: str, model: Path) -> Iterator[str]:
        adapter = self.here / f"{answer}-{kind}-adapter"
        data = ["--train", str(SAMPLE), "--val", str(SHOTS), "--max-examples", "8", "--limit-val", "2"]
        size = ["--max-steps", "2", "--batch", "2", "--rank", "4", "--alpha", "8", "--prompt", "bare"]
        command = ["finetune", "--model", str(model), "--out", str(adapter), "--answer", answer, "--quiet"]
        yield self.command(f"{answer} {kind} finetune, 2 steps", [*command, *data, *size])
        lora = ["--lora", str(adapter / "adapter.gguf")] if kind == "gguf" else ["--adapter", str(adapter)]
        yield self.annotated(f"{answer} {kind} adapter", model, *lora)

    def exported(self, answer: str) -> Iterator[str]:
        adapter = str(self.here / f"{answer}-transformers-adapter")
        base = ["export-gguf", "--model", str(self.folder), "--adapter", adapter, "--force", "--quiet"]
        merged, lora = self.here / f"{answer}-merged.gguf", self.here / f"{answer}-lora.gguf"
        yield self.command(f"{answer} export with adapter", [*base, "--out", str(merged)])
        yield self.annotated(f"{answer} exported", merged)
        yield self.command(f"{answer} export of the LoRA", [*base, "--lora-only", "--out", str(lora)])
        yield self.annotated(f"{answer} exported LoRA", self.plain, "--lora", str(lora))

    def annotated(self, what: str, model: Path, *options: str) -> str:
        """Annotate some sentences, and count what was found."""
        out = self.here / f"{what.replace(' ', '-')}.out"
        fixed = ["--limit", str(self.n_sentences), "--context", "2048", "--threads", "1", "--batch", "1"]
        command = ["annotate", str(SAMPLE), str(out), "--model", str(model), "--overwrite", "--quiet"]

        def counted() -> dict[str, Any]:
            record = json.loads(out.with_name(f"{out.name}.run.json").read_text())
            return {"mentions": record["n_mentions"], "failed sentences": len(record["failures"])}

        return self.command(what, [*command, *fixed, *options], counted)

    def command(self, what: str, command: list[str], then: Callable[[], dict[str, Any]] = dict) -> str:
        start_s = time.process_time()
        try:
            run(*command)
            seen = then()
        except Exception as error:
            seen = {
                "failed": f"{error}"
                if isinstance(error, CommandError)
                else f"{type(error).__name__}: {error}"
            }
        return self.done(what, {**seen, "processor seconds": round(time.process_time() - start_s, 1)})

    def done(self, what: str, seen: dict[str, Any]) -> str:
        self.seen.setdefault(self.name, {})[what] = seen
        (self.here.parent / "paths.json").write_text(json.dumps(self.seen, indent=1) + "\n")
        return f"{self.name}: {what}: " + ", ".join(f"{key} {value}" for key, value in seen.items())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for what is written")
    parser.add_argument("--only", choices=MODELS)
    parser.add_argument("--answer", nargs="+", choices=ANSWERS, default=ANSWERS)
    parser.add_argument("--sentences", type=int, default=4)
    options = parser.parse_args()
    seen: dict[str, Any] = {}
    for name in [options.only] if options.only else MODELS:
        try:
            gguf = installed_file(MODELS[name])
        except MissingExtraError as error:
            print(f"{name}: not run: {error}")
            continue
        assert gguf is not None
        here = options.work / name
        here.mkdir(parents=True, exist_ok=True)
        for line in Paths(name, gguf, here, options.answer, options.sentences, seen).run_all():
            print(line, flush=True)


if __name__ == "__main__":
    main()
