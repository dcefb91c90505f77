"""A JSON schema, for servers that take nothing else (Ollama): an array with a string for each word.

The strings joined are the answer. The schema is looser than the constraint: tags can be only where they are
allowed, but each word chooses for itself, so nothing pairs an opening tag with its closing tag or keeps
mentions from nesting. The text is always the sentence's. Check an answer with `Constraint.read`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from ...data import Mention
from ..automaton import Constraint, TagMachine
from .language import Word, words
from .templates import json_text, template_parts


def render_pieces(constraint: Constraint) -> str:
    """The schema. `split_pieces` writes an array that it allows, `join_pieces` reads one."""
    parts = template_parts("sentence.schema.json")
    found, tail = words(constraint)
    either = parts["or"].template
    pieces = [
        parts["piece"].substitute(choices=either.join(f'"{json_text(text)}"' for text in choices))
        for choices in _piece_choices(constraint.machine, found, tail)
    ]
    first, *others = pieces
    return parts["grammar"].substitute(
        pieces=first + "".join(parts["next piece"].substitute(piece=piece) for piece in others),
        n_pieces=len(pieces),
    )


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
    """The answer in a JSON array of strings; None if it is not one."""
    try:
        pieces = json.loads(answer)
    except json.JSONDecodeError:
        return None
    if not isinstance(pieces, list) or not all(isinstance(piece, str) for piece in pieces):
        return None
    return "".join(pieces)


def are_pieces(constraint: Constraint, answer: str) -> bool:
    """Whether the JSON schema allows the answer."""
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


def _piece_choices(machine: TagMachine, found: list[Word], tail: str) -> Iterator[list[str]]:
    """The strings allowed for each element of the array."""
    markup = machine.markup
    for word in found:
        yield [
            word.gap + opening + word.core + closing
            for opening in ("", *map(markup.open_tag, markup.types))
            for closing in ("", *map(markup.close_tag, markup.types))
            # a tag that opens at this word can be closed after it only by its own closing tag
            if not opening or not closing or closing[2:] == opening[1:]
        ]
    if tail or not found:
        yield [tail]
