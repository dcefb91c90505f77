"""The bias of opening a type, as servers take it: a number for a token, wherever the token may come.

Decoding here adds a type's number where a tag opens (see `constraint.bias`). A server takes `logit_bias`: a
number for each token id, added at every place. The grammar allows the tokens of opening tags hardly anywhere
else, so the two are nearly the same. They differ

- if the sentence itself contains the token (`<`, or a word that a tag ends in);
- if a closing tag can be spelt with the first token of an opening one (`<` and `/drug>` beside `</` and
  `drug>`): then closing a mention is easier, too, so mentions are shorter;
- if the server writes an opening tag with other tokens than its tokenizer does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..constraint.answer_form import AnswerForm, Tags
from ..constraint.bias import TypeBias
from ..errors import UserError
from ..vocabulary import Vocabulary

_BEFORE = ("", " ", "(", "-", '"')
"""What a tag may follow: its first token may begin with that."""

_NAME = "x"


def bias_by_token(
    by_type: Mapping[str, float], form: AnswerForm, tokenize: Callable[[str], list[tuple[int, bytes]]]
) -> dict[int, float]:
    """The numbers to send. tokenize: text -> ids and bytes of the server's tokens.

    Raises SchemaError for a type that is not in the schema, UserError for a list.
    """
    if not isinstance(form, Tags):
        raise UserError("--bias: a server takes it for answers in tags only; leave out --answer list")
    machine = form.machine
    tags = [machine.markup.open_tag(name) for name in machine.markup.types]
    spelt = {before: [tokenize(before + tag) for tag in tags] for before in _BEFORE}
    pieces = dict(token for tokens in spelt.values() for tag in tokens for token in tag)
    bias = TypeBias(by_type, machine, _vocabulary_of(pieces))
    found: dict[int, float] = {}
    for before, spellings in spelt.items():
        constraint = form.constraint(before + _NAME)
        for tokens in spellings:
            state = constraint.start
            for token_id, piece in tokens:
                after = constraint.advance(state, piece)
                (number,) = bias.of(state, {token_id: after}) or (0.0,)
                if number:
                    found[token_id] = number
                state = after
    return found


def _vocabulary_of(pieces: Mapping[int, bytes]) -> Vocabulary:
    """Only these tokens, under the server's ids."""
    token_bytes = [pieces.get(token_id, b"") for token_id in range(max(pieces, default=-1) + 1)]
    return Vocabulary(token_bytes, control_ids=(), stop_ids=(), tokenize=lambda text: [])
