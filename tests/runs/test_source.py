"""What a run reads: hashed, counted and read again, without being held."""

from __future__ import annotations

from pathlib import Path

import pytest

from constrained_ner.errors import InputError
from constrained_ner.runs.source import Input, Source


def source(path: Path, text: str, limit: int | None = None) -> Source:
    path.write_text(f"<corpus>{text}</corpus>")
    return Source.check(Input(path, limit=limit), print)


def test_a_source_tells_texts_ids_order_and_documents_apart(tmp_path: Path) -> None:
    a, b = '<sentence id="a" text="x"/>', '<sentence id="b" text="y"/>'
    corpora = [
        f'<document id="d">{a}{b}</document>',
        f'<document id="d">{a}</document>',
        f'<document id="d">{b}{a}</document>',
        f'<document id="d">{a}<sentence id="b" text="z"/></document>',
        f'<document id="e">{a}{b}</document>',
        f'<document id="d">{a}</document><document id="d">{b}</document>',
    ]
    assert len({source(tmp_path / "in.xml", text).texts_hash for text in corpora}) == 6


def test_a_source_hashes_its_data_in_any_order_and_whatever_the_limit(tmp_path: Path) -> None:
    a, b = '<sentence id="a" text="x"/>', '<sentence id="b" text="y"/>'
    hashes = {
        source(tmp_path / "in.xml", f"<document id='d'>{text}</document>", limit).data_hash
        for text, limit in ((a + b, None), (b + a, None), (a + b, 1))
    }
    assert len(hashes) == 1


def test_a_limit_counts_sentences(tmp_path: Path) -> None:
    many = "".join(f'<sentence id="s{n}" text="x"/>' for n in range(5))
    limited = source(tmp_path / "in.xml", f'<document id="d">{many}</document>', 3)
    assert [s.id for s in limited.sentences()] == ["s0", "s1", "s2"]
    assert (limited.n_sentences, limited.n_texts) == (3, 3)
    assert len(limited.every_document()[0].sentences) == 5


def test_an_input_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no <sentence> elements"):
        source(tmp_path / "in.xml", "")


def test_sentences_of_documents_with_the_same_ids_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "in.conll"
    path.write_text(
        "# newdoc id = d1\n# start = 0\n# sent_id = 1\n# text = Iron.\nIron\tO\n.\tO\n\n"
        "# newdoc id = d2\n# start = 0\n# sent_id = 1\n# text = Zinc.\nZinc\tO\n.\tO\n\n"
    )
    checked = Source.check(Input(path), print)
    assert [s.text for s in checked.sentences()] == ["Iron.", "Zinc."]
    assert len({s.id for s in checked.sentences()}) == 2


def test_sentences_of_a_long_text_are_counted_on_in_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("Aspirin helps. So does iron.\n\n" * 50_000)
    checked = Source.check(Input(path), print)
    assert (checked.n_sentences, checked.n_texts) == (100_000, 1)
    assert [s.id for s in checked.sentences()] == [f"long.s{n}" for n in range(100_000)]
