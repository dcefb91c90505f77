"""What a sentence's grammar costs a server, by grammar engine and by the form that the grammar is written in.

    python benchmarks/server_grammars.py MODEL.gguf [sentences.xml] [--sentences 10] [--address http://../v1]

Every engine follows the tokens of the gold answer and gives the legal set before each: milliseconds of
processor time for a sentence, on which other programs have little effect. The engines are those inside the
servers: llama.cpp's GBNF in llama-server, xgrammar and llguidance in vLLM and SGLang. The forms have one
language:

    rules      as it is sent: an alternative for each tag, with the word after it
    factored   the `<` that all tags begin with comes first, then the rest of each

With --address, a llama-server is asked for the same sentences with each form and with none. It says itself
how long each token took (`timings`); without a grammar it writes what it likes, which costs the same.
"""

from __future__ import annotations

import argparse
import json
import re
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

from constraint import Example, examples_of

from constrained_ner.backends.llamacpp.model import LlamaModel
from constrained_ner.backends.llamacpp.vocabulary import vocabulary_of_llama
from constrained_ner.constraint.automaton import Constraint, TagMachine
from constrained_ner.constraint.grammars import render
from constrained_ner.constraint.markup import Markup
from constrained_ner.constraint.tag_tokens import TagTokens
from constrained_ner.decoding.engines import Engine, Spellings
from constrained_ner.decoding.engines.gbnf import GbnfEngine
from constrained_ner.decoding.engines.llguidance import LlguidanceEngine
from constrained_ner.decoding.engines.xgrammar import XgrammarEngine
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.schema import DDI

_TAGS = re.compile(r'"<(\w+>(?:[^"\\]|\\.)*)"((?: (?:out|in)\S*)?)')


def factored(gbnf: str) -> str:
    """Example: out-0 ::= "x" out-1 | "<drug>x" in1-0 | "<brand>x" in2-0
    -> out-0 ::= "x" out-1 | "<" ("drug>x" in1-0 | "brand>x" in2-0)
    """
    lines = []
    for line in gbnf.splitlines():
        tags = _TAGS.findall(line)
        if line.startswith("out-") and len(tags) > 1:
            first = line.index('| "<')
            inner = " | ".join(f'"{text}"{rule}' for text, rule in tags)
            line = f'{line[:first]}| "<" ({inner})'
        lines.append(line)
    return "\n".join(lines) + "\n"


FORMS: dict[str, Callable[[str], str]] = {"rules": lambda grammar: grammar, "factored": factored}


def time_sentence(example: Example, grammar: str, engine: Engine) -> tuple[float, float]:
    """Processor seconds to read the grammar, and for all tokens."""
    start_s = process_time()
    matcher = engine.start(grammar)
    built_s = process_time()
    for number, token_id in enumerate(example.token_ids, start=1):
        assert token_id in matcher.legal_ids(), f"{example.text!r}: token {token_id} is not legal"
        if number < len(example.token_ids):
            matcher.accept(token_id)
    return built_s - start_s, process_time() - built_s


def ask(address: str, text: str, grammar: str | None) -> tuple[float, float]:
    """What the server says a token took, in milliseconds, and the whole answer."""
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": 128,
    }
    if grammar is not None:
        body["grammar"] = grammar
    request = urllib.request.Request(
        f"{address}/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=3600) as reply:
        timings = json.load(reply)["timings"]
    return timings["predicted_per_token_ms"], timings["predicted_ms"]


def show(name: str, form: str, figures: Sequence[tuple[float, float]], unit: float = 1e3) -> None:
    first, second = (median(column) * unit for column in zip(*figures, strict=True))
    print(f"{name:22}{form:12}{first:12.2f}{second:12.2f}{len(figures):8d}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a GGUF file; its weights are not read")
    parser.add_argument("input", type=Path, nargs="?", default=Path("examples/sample.xml"))
    parser.add_argument("--sentences", type=int, default=10)
    parser.add_argument(
        "--address", help="of a llama-server with the model, such as http://localhost:8080/v1"
    )
    options = parser.parse_args()
    model = LlamaModel(options.model, vocab_only=True)
    tags = TagTokens(TagMachine(Markup(DDI)), vocabulary_of_llama(model))
    sentences = [s for document in read_ddi(options.input) for s in document if s.mentions]
    examples = examples_of(sentences[: options.sentences], tags)
    constraints = [
        Constraint(e.text, tags.machine, leading_space=tags.vocabulary.leading_space) for e in examples
    ]
    print(f"{'engine':22}{'form':12}{'read, ms':>12}{'tokens, ms':>12}{'n':>8}")
    spellings = Spellings(tags)
    engine: Engine
    for engine in (XgrammarEngine(spellings), LlguidanceEngine(spellings), GbnfEngine(spellings, model)):
        forms = FORMS if engine.dialect == "gbnf" else {"rules": FORMS["rules"]}
        for form, rewrite in forms.items():
            grammars = [rewrite(render(constraint, engine.dialect)) for constraint in constraints]
            figures = [time_sentence(e, g, engine) for e, g in zip(examples, grammars, strict=True)]
            show(type(engine).__name__.removesuffix("Engine"), form, figures)
    if options.address:
        print(f"{'':34}{'a token, ms':>12}{'answer, ms':>12}")
        show("server", "none", [ask(options.address, e.text, None) for e in examples], 1.0)
        for form, rewrite in FORMS.items():
            grammars = [rewrite(render(constraint, "gbnf")) for constraint in constraints]
            answers = [ask(options.address, e.text, g) for e, g in zip(examples, grammars, strict=True)]
            show("server", form, answers, 1.0)


if __name__ == "__main__":
    main()
