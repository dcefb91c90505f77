"""The bias of opening a type as a server's `logit_bias`."""

from __future__ import annotations

import re

import pytest

from constrained_ner.annotation.server_bias import bias_by_token
from constrained_ner.constraint.answer_form import NamesWithTypes, Tags
from constrained_ner.constraint.markup import Markup
from constrained_ner.errors import SchemaError, UserError
from constrained_ner.schema import DDI

TAGS = Tags(Markup(DDI))
PIECES = [" <", "(<", "</", "<", ">", "_n", "drug", "brand", "group", " ", "(", "-", '"']


def tokenize(text: str) -> list[tuple[int, bytes]]:
    """Tags in several tokens, the first of them with a space or a bracket before it, as GPT-2's have it."""
    found = re.findall("|".join(map(re.escape, PIECES)), text)
    assert "".join(found) == text
    return [(PIECES.index(piece), piece.encode()) for piece in found]


def by_piece(**by_type: float) -> dict[str, float]:
    return {PIECES[i]: number for i, number in bias_by_token(by_type, TAGS, tokenize).items()}


def test_what_all_types_have_in_common_is_due_at_the_first_token() -> None:
    assert by_piece(drug=4.0, brand=4.0, group=4.0, drug_n=4.0) == {"<": 4.0, " <": 4.0, "(<": 4.0}


def test_the_rest_is_due_where_the_type_becomes_certain() -> None:
    assert by_piece(drug=1.0, brand=3.0, group=1.0, drug_n=1.0) == {
        "<": 1.0,
        " <": 1.0,
        "(<": 1.0,
        "brand": 2.0,
    }
    assert by_piece(drug_n=0.5) == {"_n": 0.5}


def test_a_tag_that_is_one_token_has_its_number_itself() -> None:
    tags = {f"<{name}>": n for n, name in enumerate(("drug", "brand", "group", "drug_n"))}

    def whole(text: str) -> list[tuple[int, bytes]]:
        before, tag = re.fullmatch("(.?)(<.*>)", text).groups()  # type: ignore[union-attr]
        return [*([(9, before.encode())] if before else []), (tags[tag], tag.encode())]

    assert bias_by_token({"group": -2.0, "drug": 1.0}, TAGS, whole) == {0: 1.0, 2: -2.0}


def test_no_bias_sends_nothing_and_an_unknown_type_is_refused() -> None:
    assert by_piece(drug=0.0) == {}
    with pytest.raises(SchemaError, match="bias for 'gene'"):
        by_piece(gene=1.0)


def test_a_list_takes_none() -> None:
    with pytest.raises(UserError, match="--bias: a server takes it for answers in tags only"):
        bias_by_token({"drug": 1.0}, NamesWithTypes(Markup(DDI)), tokenize)
