"""The language of a Constraint, written down for engines that take a grammar: servers, and our own tests.

    gbnf          llama.cpp and its server                         exactly the constraint's language
    lark          llguidance (vLLM, SGLang, llama.cpp with it)     exactly
    regex         Python `re` and Rust `regex`, no look-around     exactly; short sentences only
    json-schema   servers that take nothing else (Ollama)          more than the language: see `json_schema`

The text stands in `templates/grammars/`, to be read and edited there; here is what goes into it.

The places for tags cut a sentence into words, each with the gap before it: a mention opens before a word
and closes after one, the same or a later one, and nothing else is possible. So the rules are few and flat:
one per word outside of mentions, one per word and type inside, and each refers to later ones only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import Literal

from ..data import Mention
from ..errors import SentenceError
from .automaton import Constraint, TagMachine
from .edges import CLOSE, OPEN

Dialect = Literal["gbnf", "lark", "regex", "json-schema"]

MAX_REGEX_CHARACTERS = 300_000
"""22 words with four types: `re` compiles that in a second, outlines-core in half a minute.

It grows with the cube of the words: 23,000 characters for 9, 75,000 for 14, 650,000 for 28, 10 million for
66. Of the devel sentences of the DDI corpus 59 % stay below.
"""


def render(constraint: Constraint, dialect: Dialect) -> str:
    """The constraint's language in a dialect. Raises SentenceError where the dialect cannot express it."""
    return _DIALECTS[dialect](constraint)


# ---- the sentence in words


@dataclass(frozen=True, slots=True)
class Word:
    """What stands between two places where a mention may close: an opening tag fits between gap and core."""

    gap: str
    core: str


def words(constraint: Constraint) -> tuple[list[Word], str]:
    """The words of the sentence in order, and the rest after the last one: together the text.

    Example: "Beta-blockers too " -> [("", "Beta"), ("", "-"), ("", "blockers"), (" ", "too")], " "
    """
    data, edges = constraint.data, constraint.edges
    found: list[Word] = []
    done = 0
    # Each word has one place to open: a second one would have a place to close before it.
    opens = [place for place, edge in enumerate(edges) if edge & OPEN]
    closes = [place for place, edge in enumerate(edges) if edge & CLOSE]
    for start, end in zip(opens, closes, strict=True):
        found.append(Word(data[done:start].decode(), data[start:end].decode()))
        done = end
    return found, data[done:].decode()


# ---- rules: GBNF and Lark


@dataclass(frozen=True, slots=True)
class Rule:
    """A place in the answer where there is a choice. entity_type: of the open mention, None outside."""

    entity_type: str | None
    word: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Text to write, forced up to the next choice, and where that is; None at the end of the answer."""

    text: str
    then: Rule | None


def rules(constraint: Constraint) -> tuple[Choice, dict[Rule, tuple[Choice, ...]]]:
    """The way to the first choice, and all choices; a rule leads to later ones only.

    Example: "on iron" -> "" then out-0, {
        out-0: "on " then out-1 | "<drug>on" then in-drug-0,
        in-drug-0: "</drug> " then out-1 | " iron</drug>",
        out-1: "iron" | "<drug>iron</drug>"}
    """
    markup = constraint.machine.markup
    found, tail = words(constraint)
    last = len(found) - 1

    def outside(word: int, text: str) -> Choice:
        if word > last:
            return Choice(text + tail, None)
        return Choice(text + found[word].gap, Rule(None, word))

    def inside(entity_type: str, word: int, text: str) -> Choice:
        text += found[word].core
        if word == last:  # no later place to close
            return outside(word + 1, text + markup.close_tag(entity_type))
        return Choice(text, Rule(entity_type, word))

    every: dict[Rule, tuple[Choice, ...]] = {}
    for word in range(last + 1):
        copied = outside(word + 1, found[word].core)
        opened = [inside(t, word, markup.open_tag(t)) for t in markup.types]
        every[Rule(None, word)] = (copied, *opened)
        for t in markup.types if word < last else ():
            closed = outside(word + 1, markup.close_tag(t))
            every[Rule(t, word)] = (closed, inside(t, word + 1, found[word + 1].gap))
    return outside(0, ""), every


def gbnf(constraint: Constraint) -> str:
    """The grammar for llama.cpp.

    Its matcher takes NUL for the end of a token, so a text with NUL is refused: SentenceError.
    """
    nul = constraint.text.find("\0")
    if nul >= 0:
        raise SentenceError(f"character {nul} is NUL, which llama.cpp's grammars cannot match: use Lark")
    return _rendered_rules(constraint, "sentence.gbnf", _gbnf_text)


def lark(constraint: Constraint) -> str:
    """The grammar for llguidance."""
    return _rendered_rules(constraint, "sentence.lark", _json_text)


def _rendered_rules(constraint: Constraint, template: str, quoted: Callable[[str], str]) -> str:
    parts = _template(template)
    types = constraint.machine.markup.types
    numbers = {entity_type: number for number, entity_type in enumerate(types, start=1)}

    def name(rule: Rule) -> str:
        if rule.entity_type is None:
            return parts["outside"].substitute(word=rule.word)
        return parts["inside"].substitute(word=rule.word, type=numbers[rule.entity_type])

    def written(choice: Choice) -> str:
        text = parts["text"].substitute(text=quoted(choice.text)) if choice.text or not choice.then else ""
        return " ".join(filter(None, (text, name(choice.then) if choice.then else "")))

    either = parts["or"].template
    first, every = rules(constraint)
    root = written(first)
    if _has_leading_space(constraint):
        root += either + parts["leading space"].substitute(root=root)
    lines = [
        parts["rule"].substitute(name=name(rule), choices=either.join(map(written, choices)))
        for rule, choices in every.items()
    ]
    legend = ", ".join(f"{number} for {entity_type}" for entity_type, number in numbers.items())
    return parts["grammar"].substitute(types=legend, root=root, rules="\n".join(lines)).rstrip("\n") + "\n"


def _is_plain(text: str) -> bool:
    """Whether the text needs no escapes between quotes. All of it printable, so no control characters."""
    return text.isprintable() and '"' not in text and "\\" not in text


def _gbnf_text(text: str) -> str:
    return text if _is_plain(text) else "".join(map(_gbnf_character, text))


def _gbnf_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)  # not as \x0b: xgrammar would read on in what follows, if that looks like a digit
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_text(text: str) -> str:
    """The text as it stands between the quotes of a JSON string; Lark's strings are read the same way."""
    return text if _is_plain(text) else "".join(c if _is_plain(c) else json.dumps(c)[1:-1] for c in text)


# ---- the regular expression


def regex(constraint: Constraint, *, max_characters: int = MAX_REGEX_CHARACTERS) -> str:
    """The language as one regular expression, to be matched against the whole answer.

    Divide and conquer: the sentence is halved, and what leads through a half from one context to another
    (outside, inside a mention of some type) is the union over the contexts in the middle. A regular
    expression cannot share its parts, hence the growth. Raises SentenceError above `max_characters`.
    """
    parts = _template("sentence.regex")
    markup = constraint.machine.markup
    found, tail = words(constraint)
    contexts = (None, *markup.types)

    def either(choices: list[str]) -> str:
        if len(choices) == 1:
            return choices[0]
        return parts["group"].substitute(choices=parts["or"].template.join(choices))

    @cache
    def through(first: int, last: int, before: str | None, after: str | None) -> str | None:
        """From one context before a word to another after a later one; None where nothing leads there."""
        if last - first == 1:
            return through_word(found[first], before, after)
        middle = (first + last) // 2
        choices: list[str] = []
        for between in contexts:
            left = through(first, middle, before, between)
            right = through(middle, last, between, after)
            if left is not None and right is not None:
                choices.append(left + right)
        if sum(map(len, choices)) > max_characters:
            raise SentenceError(
                f"a regular expression for {len(found)} words and {len(markup.types)} types would take more "
                f"than {max_characters} characters: use GBNF or Lark"
            )
        return either(choices) if choices else None

    def through_word(word: Word, before: str | None, after: str | None) -> str | None:
        gap, core = _regex_text(word.gap), _regex_text(word.core)
        if before is not None:
            if after is None:
                return gap + core + _regex_text(markup.close_tag(before))
            return gap + core if after == before else None
        if after is not None:
            return gap + _regex_text(markup.open_tag(after)) + core
        tagged = [
            _regex_text(markup.open_tag(t)) + core + _regex_text(markup.close_tag(t)) for t in markup.types
        ]
        return gap + either([core, *tagged])

    return parts["grammar"].substitute(
        leading_space=parts["leading space"].template if _has_leading_space(constraint) else "",
        answer=(through(0, len(found), None, None) or "") if found else "",
        tail=_regex_text(tail),
    )


def _regex_text(text: str) -> str:
    return "".join(map(_regex_character, text))


def _regex_character(character: str) -> str:
    if character in r".+*?()|[]{}^$" or character == "\\":
        return "\\" + character
    return f"\\x{ord(character):02x}" if ord(character) < 32 or ord(character) == 127 else character


# ---- the JSON schema


def json_schema(constraint: Constraint) -> str:
    """A JSON schema of an array with a string for each word; the strings joined are the answer.

    Looser than the constraint: tags stand only where they may, but each word chooses alone, so nothing pairs
    an opening tag with its closing tag or keeps mentions from nesting. The text is always the sentence's.
    `split_pieces` writes such an array, `join_pieces` reads one; check what it gives with `Constraint.read`.
    """
    parts = _template("sentence.schema.json")
    found, tail = words(constraint)
    either = parts["or"].template
    pieces = [
        parts["piece"].substitute(choices=either.join(f'"{_json_text(text)}"' for text in choices))
        for choices in _piece_choices(constraint.machine, found, tail)
    ]
    first, *others = pieces
    return parts["grammar"].substitute(
        pieces=first + "".join(parts["next piece"].substitute(piece=piece) for piece in others),
        n_pieces=len(pieces),
    )


def _piece_choices(machine: TagMachine, found: list[Word], tail: str) -> Iterator[list[str]]:
    markup = machine.markup
    for word in found:
        yield [
            word.gap + opening + word.core + closing
            for opening in ("", *map(markup.open_tag, markup.types))
            for closing in ("", *map(markup.close_tag, markup.types))
            # within one word, a tag that is opened can be closed by its own closing tag only
            if not opening or not closing or closing[2:] == opening[1:]
        ]
    if tail or not found:
        yield [tail]


def split_pieces(constraint: Constraint, mentions: Sequence[Mention]) -> str:
    """The answer with these mentions as the JSON array that the schema asks for.

    mentions: expressible ones, as `Markup.expressible` gives them.

    Example: on <drug>aspirin</drug>! -> ["on", " <drug>aspirin</drug>", "!"]
    """
    markup = constraint.machine.markup
    opens = {mention.start: markup.open_tag(mention.type) for mention in mentions}
    closes = {mention.end: markup.close_tag(mention.type) for mention in mentions}
    found, tail = words(constraint)
    pieces: list[str] = []
    end = 0
    for word in found:
        start = end + len(word.gap)
        end = start + len(word.core)
        pieces.append(word.gap + opens.get(start, "") + word.core + closes.get(end, ""))
    if tail or not found:
        pieces.append(tail)
    return json.dumps(pieces, ensure_ascii=False)


def join_pieces(answer: str) -> str | None:
    """The answer that a JSON array of strings holds; None if it is no such thing."""
    try:
        pieces = json.loads(answer)
    except json.JSONDecodeError:
        return None
    if not isinstance(pieces, list) or not all(isinstance(piece, str) for piece in pieces):
        return None
    return "".join(pieces)


def are_pieces(constraint: Constraint, answer: str) -> bool:
    """Whether the answer is what the JSON schema allows."""
    found, tail = words(constraint)
    choices = list(_piece_choices(constraint.machine, found, tail))
    try:
        pieces = json.loads(answer)
    except json.JSONDecodeError:
        return False
    return (
        isinstance(pieces, list)
        and len(pieces) == len(choices)
        and all(piece in allowed for piece, allowed in zip(pieces, choices, strict=True))
    )


# ---- templates


@cache
def _template(name: str) -> dict[str, Template]:
    """The parts of a template file: each begins with a line `%% its name`, and has no final newline."""
    content = (files("constrained_ner") / "templates" / "grammars" / name).read_text(encoding="utf-8")
    parts = (part.split("\n", 1) for part in content.split("%% ")[1:])
    return {title: Template(body.removesuffix("\n")) for title, body in parts}


def _has_leading_space(constraint: Constraint) -> bool:
    return constraint.start[0] == TagMachine.START


_DIALECTS: dict[Dialect, Callable[[Constraint], str]] = {
    "gbnf": gbnf,
    "lark": lark,
    "regex": regex,
    "json-schema": json_schema,
}
