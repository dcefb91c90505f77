"""What a sentence's grammar costs a server, by grammar engine and by the form that the grammar is written in.

    python benchmarks/server_grammars.py MODEL.gguf [sentences.xml] [--sentences 10]
    python benchmarks/server_grammars.py MODEL.gguf --address http://127.0.0.1:8080/v1 --pid PID

Without an address: every engine follows the tokens of the gold answer and gives the legal set before each.
Milliseconds of processor time for a sentence, on which other programs have little effect, medians over the
sentences. The engines are those inside the servers: llama.cpp's GBNF in llama-server, xgrammar and llguidance
in vLLM and SGLang. The forms have one language, but for JSON, which is looser:

    as sent   what a server is asked for
    factored  alternatives that begin alike share their beginning
    spelt     lists: the types at each word, with no rule of their own
    lark      the same rules as one regular expression
    json      a schema: an array with a string for each word, or with an object for each name

With an address: the server's own processor time (of --pid and its children) for an answer under each form,
against as many tokens without a grammar. The prompt is ours, with three examples, and is in the server's
cache; the forms are asked in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import llguidance
import xgrammar

from constrained_ner.backends.llamacpp.model import LlamaModel
from constrained_ner.backends.llamacpp.vocabulary import vocabulary_of_llama
from constrained_ner.constraint.answer_form import AnswerForm, answer_form
from constrained_ner.constraint.automaton import Constraint
from constrained_ner.constraint.grammars import render, write_json
from constrained_ner.constraint.grammars.language import Alternative, rules
from constrained_ner.constraint.grammars.list_language import ListRule, list_rules
from constrained_ner.constraint.list_automaton import ListAutomaton
from constrained_ner.constraint.markup import Markup
from constrained_ner.constraint.sentence_automaton import SentenceAutomaton
from constrained_ner.data import Sentence
from constrained_ner.decoding.engines import Matcher, Spellings
from constrained_ner.decoding.engines.gbnf import GbnfEngine
from constrained_ner.decoding.engines.llguidance import LlguidanceEngine, LlguidanceMatcher
from constrained_ner.decoding.engines.xgrammar import XgrammarEngine, XgrammarMatcher
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.prompting.messages import Prompts
from constrained_ner.prompting.wording import USUAL_PROMPTS, PromptFile
from constrained_ner.schema import DDI

Write = Callable[[SentenceAutomaton], str]
SHOTS = Path(__file__).parents[1] / "examples" / "shots.xml"


# ---- forms of a grammar


def factored(constraint: SentenceAutomaton) -> str:
    """Example: next-0 ::= "on" name-0 | "once" name-1 -> next-0 ::= "on" (name-0 | "ce" name-1)"""
    roots, every = rules_of(constraint)
    return grammar([("root", together(roots)), *((name(r), together(ways)) for r, ways in every.items())])


def spelt(constraint: SentenceAutomaton) -> str:
    """The types written out at each word."""
    roots, every = rules_of(constraint)
    types = every.pop(ListRule("type"), ())

    def written(way: Alternative[Any]) -> list[str]:
        if ListRule("type") not in way.then:
            return [alternative(way)]
        return [alternative(Alternative(way.text + t.text, way.then[1:])) for t in types]

    lines = [
        (name(rule), " | ".join(w for way in ways for w in written(way))) for rule, ways in every.items()
    ]
    return grammar([("root", " | ".join(map(alternative, roots))), *lines])


def rules_of(constraint: SentenceAutomaton) -> tuple[Sequence[Alternative[Any]], dict[Any, Any]]:
    if isinstance(constraint, ListAutomaton):
        return list_rules(constraint)
    assert isinstance(constraint, Constraint)
    root, every = rules(constraint)
    return (root,), dict(every)


def together(ways: Sequence[Alternative[Any]]) -> str:
    """The alternatives, with those that begin with the same character in a group."""
    groups: dict[str, list[Alternative[Any]]] = {}
    for way in ways:
        groups.setdefault(way.text[:1], []).append(way)
    found: list[str] = []
    for first, group in groups.items():
        if len(group) == 1 or not first:
            found += map(alternative, group)
        else:
            shared = common_beginning([way.text for way in group])
            inner = together([Alternative(way.text[len(shared) :], way.then) for way in group])
            found.append(f"{literal(shared)} ({inner})")
    return " | ".join(found)


def common_beginning(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    return first[
        : next((n for n, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    ]


def alternative(way: Alternative[Any]) -> str:
    return " ".join((*([literal(way.text)] if way.text or not way.then else []), *map(name, way.then)))


def literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def name(rule: Any) -> str:
    if isinstance(rule, ListRule):
        return f"{rule.kind}-{rule.word}"
    return (
        f"out-{rule.word}"
        if rule.entity_type is None
        else f"in-{rule.entity_type.replace('_', '')}-{rule.word}"
    )


def grammar(lines: Sequence[tuple[str, str]]) -> str:
    return "".join(f"{rule} ::= {ways}\n" for rule, ways in lines)


def as_sent(constraint: SentenceAutomaton) -> str:
    return render(constraint, "gbnf")


def as_lark(constraint: SentenceAutomaton) -> str:
    return render(constraint, "lark")


def as_json(constraint: SentenceAutomaton) -> str:
    return render(constraint, "json-schema")


GBNF_FORMS: dict[str, Write] = {"as sent": as_sent, "factored": factored, "spelt": spelt}


# ---- engines in this process


@dataclass(frozen=True)
class Case:
    """A form in an engine. start: reads a grammar. in_json: the answer is JSON."""

    engine: str
    form: str
    write: Write
    start: Callable[[str], Matcher]
    in_json: bool = False


def cases_of(spellings: Spellings, model: LlamaModel, answer: str) -> list[Case]:
    xg, ll, gbnf = XgrammarEngine(spellings), LlguidanceEngine(spellings), GbnfEngine(spellings, model)

    def in_xgrammar(schema: str) -> Matcher:
        compiled = xg._compiler.compile_json_schema(schema, any_whitespace=False, separators=(", ", ": "))
        return XgrammarMatcher(xgrammar.GrammarMatcher(compiled), xg._mask)

    def in_llguidance(read: str) -> Matcher:
        return LlguidanceMatcher(llguidance.LLMatcher(ll._tokenizer, read, log_level=0), ll._mask)

    def json_in_llguidance(schema: str) -> Matcher:
        fixed = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
        return in_llguidance(llguidance.LLMatcher.grammar_from_json_schema(schema, overrides=fixed))

    def gbnf_in_llguidance(written: str) -> Matcher:
        return in_llguidance(llguidance.grammar_from("grammar", written))  # as vLLM gives it one

    readers = {"xgrammar": xg.start, "llguidance": gbnf_in_llguidance, "llama.cpp": gbnf.start}
    forms = {form: write for form, write in GBNF_FORMS.items() if form != "spelt" or answer == "list"}
    found = [Case(e, form, write, start) for e, start in readers.items() for form, write in forms.items()]
    return [
        *found,
        Case("llguidance", "lark", as_lark, ll.start),
        Case("xgrammar", "json", as_json, in_xgrammar, in_json=True),
        Case("llguidance", "json", as_json, json_in_llguidance, in_json=True),
    ]


def time_sentence(case: Case, constraint: SentenceAutomaton, token_ids: Sequence[int]) -> tuple[float, float]:
    """Processor seconds to read the grammar, and for all tokens."""
    written = case.write(constraint)
    start_s = process_time()
    matcher = case.start(written)
    built_s = process_time()
    for number, token_id in enumerate(token_ids, start=1):
        assert token_id in matcher.legal_ids(), f"{case}: token {number} of {constraint.text!r} is not legal"
        if number < len(token_ids):
            matcher.accept(token_id)
    return built_s - start_s, process_time() - built_s


def compare_engines(model: LlamaModel, answer: str, sentences: Sequence[Sentence]) -> None:
    vocabulary = vocabulary_of_llama(model)
    form = answer_form(answer, Markup(DDI))  # type: ignore[arg-type]
    cases = cases_of(Spellings(form.spelt(vocabulary)), model, answer)
    figures: dict[tuple[str, str], list[tuple[float, float, int, int]]] = {}
    stop = min(vocabulary.stop_ids)
    for sentence in sentences:
        constraint = form.constraint(sentence.text, leading_space=vocabulary.leading_space)
        kept, _ = form.markup.expressible(sentence)
        space = " " * vocabulary.leading_space
        ids = [*vocabulary.encode(space + form.write(sentence.text, kept)), stop]
        in_json = [*vocabulary.encode(write_json(constraint, kept, "word")), stop]
        for case in cases:
            token_ids = in_json if case.in_json else ids
            read_s, tokens_s = time_sentence(case, constraint, token_ids)
            size = len(case.write(constraint))
            figures.setdefault((case.engine, case.form), []).append((read_s, tokens_s, len(token_ids), size))
    print(f"\n{answer}: {len(sentences)} sentences, vocabulary of {len(vocabulary)}")
    print(
        f"{'engine':12}{'form':10}{'read, ms':>10}{'tokens, ms':>12}{'both, ms':>10}{'tokens':>8}{'bytes':>8}"
    )
    for (engine, form_name), rows in figures.items():
        read, tokens = (1e3 * median(row[part] for row in rows) for part in (0, 1))
        both = 1e3 * median(row[0] + row[1] for row in rows)
        n_tokens, size = median(row[2] for row in rows), median(row[3] for row in rows)
        print(
            f"{engine:12}{form_name:10}{read:10.2f}{tokens:12.2f}{both:10.2f}{n_tokens:8.0f}{size:8.0f}",
            flush=True,
        )


# ---- a server


class AskedServer:
    """A server, and the processor time that it takes."""

    def __init__(self, address: str, pid: int) -> None:
        self.address, self.pid = address, pid
        with urllib.request.urlopen(f"{address}/models", timeout=60) as reply:
            model = json.load(reply)["data"][0]
        self.model: str = model["id"]
        self.is_vllm = model["owned_by"] == "vllm"

    def ask(self, messages: Sequence[dict[str, str]], n_tokens: int, **more: Any) -> tuple[float, int]:
        """Processor seconds of the server, and tokens of the answer."""
        body = {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": n_tokens, **more}
        request = urllib.request.Request(
            f"{self.address}/chat/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        start_s = processor_seconds(self.pid)
        with urllib.request.urlopen(request, timeout=3600) as reply:
            n_written = json.load(reply)["usage"]["completion_tokens"]
        return processor_seconds(self.pid) - start_s, n_written

    def grammar(self, form: str, written: str) -> dict[str, Any]:
        if self.is_vllm:
            return {"structured_outputs": {"json" if form == "json" else "grammar": written}}
        return {"json_schema": json.loads(written)} if form == "json" else {"grammar": written}


def processor_seconds(pid: int) -> float:
    """Of a process and of all that it started."""
    ticks: dict[int, tuple[int, int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        ticks[int(path.parent.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    family = {pid}
    while more := {child for child, (parent, _) in ticks.items() if parent in family} - family:
        family |= more
    return sum(ticks[one][1] for one in family if one in ticks) / os.sysconf("SC_CLK_TCK")


def compare_on_server(server: AskedServer, form: AnswerForm, sentences: Sequence[Sentence]) -> None:
    shots = [s for document in read_ddi(SHOTS) for s in document][:3]
    prompt = PromptFile.built_in(USUAL_PROMPTS[form.name])
    prompts = Prompts(prompt, form.markup, shots, form=form)
    forms = {**GBNF_FORMS, "json": as_json}
    if form.name == "tags":
        del forms["spelt"]
    figures: dict[str, list[tuple[float, float, int]]] = {}
    for sentence in sentences:
        messages = [{"role": m.role, "content": m.content} for m in prompts.prepare_messages(sentence.text)]
        constraint = form.constraint(sentence.text, leading_space=True)
        server.ask(messages, 1)  # the prompt is in the cache now
        for name, write in forms.items():
            taken_s, n_tokens = server.ask(messages, 400, **server.grammar(name, write(constraint)))
            free_s, n_free = server.ask(messages, n_tokens, ignore_eos=True)
            assert n_free == n_tokens
            figures.setdefault(name, []).append((taken_s, free_s, n_tokens))
    print(f"\n{form.name}: {len(sentences)} sentences, {'vLLM' if server.is_vllm else 'llama-server'}")
    print(f"{'form':10}{'tokens':>8}{'ms a token':>12}{'without':>10}{'ratio':>8}")
    for name, rows in figures.items():
        taken, free, n_tokens = (sum(column) for column in zip(*rows, strict=True))
        per_token = f"{1e3 * taken / n_tokens:12.1f}{1e3 * free / n_tokens:10.1f}{taken / free:8.2f}"
        print(f"{name:10}{n_tokens / len(rows):8.1f}{per_token}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a GGUF file; its weights are not read")
    parser.add_argument("input", type=Path, nargs="?", default=Path("examples/sample.xml"))
    parser.add_argument("--sentences", type=int, default=10)
    parser.add_argument("--answer", choices=["tags", "list"], help="default: both")
    parser.add_argument("--address", help="of a server, such as http://127.0.0.1:8080/v1")
    parser.add_argument("--pid", type=int, help="of that server")
    options = parser.parse_args()
    sentences = [s for document in read_ddi(options.input) for s in document if s.mentions][
        : options.sentences
    ]
    if options.address:
        server = AskedServer(options.address, options.pid or parser.error("--address needs --pid"))
    else:
        model = LlamaModel(options.model, vocab_only=True)
    for answer in [options.answer] if options.answer else ["tags", "list"]:
        if options.address:
            compare_on_server(server, answer_form(answer, Markup(DDI)), sentences)
        else:
            compare_engines(model, answer, sentences)


if __name__ == "__main__":
    main()
