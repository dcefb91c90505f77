"""The lexicon as prior: what it is read from, what it says in a record, and where it is off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from vocabularies import tag_token_vocabulary

from constrained_ner import Annotator
from constrained_ner.annotation.lexicon import key_of, public_names
from constrained_ner.annotation.lexicon_prior import DEFAULT_WEIGHTS, LexiconPrior, everyday_weights
from constrained_ner.annotation.settings import Settings
from constrained_ner.annotation.shipped import as_shipped, shipped_names
from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.constraint.automaton import Constraint, TagMachine
from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Sentence
from constrained_ner.errors import UserError
from constrained_ner.experiments.grid import grid
from constrained_ner.schema import DDI, EntityType, Schema

TEMPLATE = "{{ messages[-1]['content'] }}<|im_end|>"
MACHINE = TagMachine(Markup(DDI))
TEXT = "Zolgensma ondansetron and iron."
STRONG = {"open": 90.0, "type": 90.0, "close": 90.0}


def annotator(**options: Any) -> Annotator:
    vocabulary = tag_token_vocabulary()
    score = seeded_score(len(vocabulary), scale=3.0)
    backend = FakeBackend(vocabulary, score, context_length=2048, chat_template=TEMPLATE)
    return Annotator(backend, **options)


def test_a_strong_lexicon_decides_and_is_counted() -> None:
    names = (("Zolgensma", "brand"), ("ondansetron", "drug"))
    with annotator(lexicon=names, lexicon_weight=STRONG) as ner:
        (annotated,) = ner.run([Sentence("s", TEXT)])
    found = {(m.text, m.type) for m in annotated.sentence.mentions}
    assert {("Zolgensma", "brand"), ("ondansetron", "drug")} <= found
    with annotator() as ner:
        (plain,) = ner.run([Sentence("s", TEXT)])
    assert plain.effort.n_turned == 0 < annotated.effort.n_turned
    assert annotated.effort.figures()["n_turned"] == annotated.effort.n_turned


def test_a_file_gives_its_names_and_the_record_says_which(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("ondansetron|drug\nZolgensma|brand\n")
    with annotator(lexicon=str(path)) as ner:
        said = ner.choices()["lexicon"]
        assert (said["names"], said["n_names"], said["weights"]) == ("mine.txt", 2, DEFAULT_WEIGHTS)
        first = ner.identity()
    path.write_text("ondansetron|brand\nZolgensma|brand\n")
    with annotator(lexicon=path) as ner:
        assert ner.identity() != first
    with annotator() as ner:
        assert (ner.choices()["lexicon"], ner.choices()["lexicon_weight"]) == (None, {})


def test_everyday_words_count_less() -> None:
    weights = everyday_weights()
    assert weights[key_of("Today")] < 0.2
    assert key_of("Lipitor") not in weights
    assert weights.keys() <= public_names(("drug", "brand")).names.keys()
    assert all(0 < weight < 0.75 for weight in weights.values())


def test_numbers_are_multiplied_by_the_weight_of_the_name() -> None:
    prior = LexiconPrior.read("public", {"open": 2.0}, ("drug", "brand"))
    assert prior is not None
    weight = everyday_weights()[key_of("Today")]
    (name,) = prior.names_in(Constraint("Today", MACHINE))
    assert (name.opening, name.of_type) == pytest.approx((2.0 * weight, 5.0 * weight))
    assert prior.names_in(Constraint("nothing known", MACHINE)) == []


def test_names_whose_types_the_schema_lacks_are_no_lexicon() -> None:
    schema = Schema(name="d", types=(EntityType(name="disease", description="a disease"),))
    with pytest.raises(UserError, match="--lexicon public: no name has one of the schema's types, disease"):
        annotator(lexicon="public", schema=schema)


def test_a_free_answer_says_that_the_lexicon_is_not_applied() -> None:
    told: list[str] = []
    with annotator(lexicon="public", constrained=False, notify=told.append) as ner:
        assert ner.choices()["lexicon"] is None
    assert [note for note in told if note.startswith("--lexicon is not applied")]


def test_a_grid_is_without_it_unless_it_compares_it() -> None:
    (arm,) = grid(Settings(lexicon="public"), shots=[0])
    assert arm.settings.lexicon == "none"
    arms = grid(Settings(), lexicon=["none", "public"], constrained=[True, False])
    chosen = [(arm.settings.constrained, arm.settings.lexicon) for arm in arms]
    assert sorted(chosen) == [(False, "none"), (True, "none"), (True, "public")]


@pytest.mark.parametrize("model", [None, *shipped_names()])
def test_models_that_ship_have_the_public_names_unless_something_else_is_chosen(model: str | None) -> None:
    assert as_shipped(Settings(model=model)).lexicon == "public"
    others: list[dict[str, Any]] = [{"lexicon": "none"}, {"constrained": False}, {"engine": "xgrammar"}]
    for chosen in [*others, {"schema": DDI}]:
        assert as_shipped(Settings(model=model, **chosen)).lexicon != "public"
    assert as_shipped(Settings(model="another.gguf")).lexicon is None
