"""Folds of documents for cross-validation."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from constrained_ner.data import Document
from constrained_ner.evaluation.folds import folds_of, source_of

IDS = st.lists(
    st.builds("{}.d{}".format, st.sampled_from(["DDI-DrugBank", "DDI-MedLine", "x"]), st.integers(0, 400)),
    unique=True,
    max_size=60,
)


@given(IDS, st.integers(2, 7), st.randoms())
def test_every_document_is_in_one_fold_whatever_the_order(ids: list[str], n: int, random: object) -> None:
    documents = [Document(i) for i in ids]
    folds = folds_of(documents, n)
    assert len(folds) == n
    assert sorted(d.id for fold in folds for d in fold) == sorted(ids)
    random.shuffle(documents)  # type: ignore[attr-defined]
    assert folds_of(documents, n) == folds


@given(IDS, st.integers(2, 7))
def test_each_source_is_spread_evenly(ids: list[str], n: int) -> None:
    folds = folds_of((Document(i) for i in ids), n)
    for source in {source_of(i) for i in ids}:
        counts = [Counter(source_of(d.id) for d in fold)[source] for fold in folds]
        assert max(counts) - min(counts) <= 1


def test_the_folds_of_known_documents_never_change() -> None:
    documents = [Document(f"DDI-MedLine.d{n}") for n in range(10)]
    assert [[d.id.rpartition("d")[2] for d in fold] for fold in folds_of(documents, 2)] == [
        ["9", "1", "4", "3", "0"],
        ["7", "8", "6", "5", "2"],
    ]
