"""CoNLL: every notation gives the same mentions, and what is written is read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_documents import CORPORA

from constrained_ner.data import Document, Mention, Sentence, Span, single_line
from constrained_ner.errors import InputError
from constrained_ner.formats.conll import read_conll, recognises_conll
from constrained_ner.formats.conll_writer import write_conll
from constrained_ner.formats.iob_tags import TaggedName, iob2, tagged_names
from constrained_ner.formats.protocol import Losses, Reading


def read(
    path: Path, content: str, columns: Sequence[str] | None = None
) -> tuple[list[Document], list[str], list[str]]:
    path.write_text(content, encoding="utf-8", newline="")
    notes: list[str] = []
    damaged: list[str] = []
    reading = Reading(
        columns=tuple(columns) if columns else None, notify=notes.append, report_damaged=damaged.append
    )
    return list(read_conll(path, reading)), notes, damaged


def found(documents: Sequence[Document]) -> list[tuple[str, list[tuple[int, int, str, str]]]]:
    return [
        (sentence.text, [(m.start, m.end, m.type, m.text) for m in sentence.mentions])
        for document in documents
        for sentence in document
    ]


ASPIRIN = [("Take beta blockers daily .", [(5, 18, "group", "beta blockers")])]


@pytest.mark.parametrize(
    "content",
    [
        "Take\tO\nbeta\tB-group\nblockers\tI-group\ndaily\tO\n.\tO\n",
        "Take\tO\nbeta\tI-group\nblockers\tI-group\ndaily\tO\n.\tO\n\n\n\n",
        "Take\tO\nbeta\tB-group\nblockers\tE-group\ndaily\tO\n.\tO",
        "Take\tO\r\nbeta\tB-group\r\nblockers\tL-group\r\ndaily\tO\r\n.\tO\r\n",
        "Take VB B-VP O\nbeta NN B-NP B-group\nblockers NN I-NP I-group\ndaily RB O O\n. . O O\n",
        "-DOCSTART- -X- O O\n\nTake V _ O\nbeta N _ B-group\nblockers N _ I-group\ndaily R _ O\n. . _ O\n",
        "1\tTake\tO\n2\tbeta\tB-group\n3\tblockers\tI-group\n4\tdaily\tO\n5\t.\tO\n",
        "O\tTake\nB-group\tbeta\nI-group\tblockers\nO\tdaily\nO\t.\n",
        "Take|VB|O beta|NN|B-group blockers|NN|I-group daily|RB|O .|.|O\n",
        "\ufeff# a comment\nTake\tO\nbeta\tB-group\nblockers\tI-group\ndaily\tO\n.\tO\n",
        "# global.columns = FORM NER\nTake\tO\nbeta\tB-group\nblockers\tI-group\ndaily\tO\n.\tO\n",
        "Take O\nbeta B_group\nblockers I_group\ndaily O\n. O\n",
    ],
)
def test_every_dialect_gives_the_same(tmp_path: Path, content: str) -> None:
    documents, _, damaged = read(tmp_path / "x.conll", content)
    assert found(documents) == ASPIRIN
    assert not damaged
    assert recognises_conll(tmp_path / "x.txt", content)


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        ("B-a B-a I-a O", [(0, 1, "a"), (1, 3, "a")]),
        ("I-a I-a B-a I-b", [(0, 2, "a"), (2, 3, "a"), (3, 4, "b")]),
        ("S-a B-a I-a E-a U-b B-b L-b", [(0, 1, "a"), (1, 4, "a"), (4, 5, "b"), (5, 7, "b")]),
        ("E-a I-a", [(0, 1, "a"), (1, 2, "a")]),
        ("B I O B", [(0, 2, "entity"), (3, 4, "entity")]),
        ("B-drug-x I-drug-x _ -", [(0, 2, "drug-x")]),
        ("", []),
    ],
)
def test_tags_become_names(tags: str, names: list[tuple[int, int, str]]) -> None:
    assert list(tagged_names(tags.split())) == names


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["", "a", "b-c"]))))
def test_iob2_is_the_inverse(pieces: list[tuple[int, str]]) -> None:
    names, at = [], 0
    for length, type in pieces:
        if type:
            names.append(TaggedName(at, at + length, type))
        at += length
    assert list(tagged_names(iob2(at, names))) == names


def test_offsets_are_those_of_the_text_if_there_is_one(tmp_path: Path) -> None:
    content = "# text = Aspirin\u00a0(100  mg) .\nAspirin\tB-drug\n(\tO\n100\tO\nmg\tO\n)\tO\n.\tO\n"
    documents, notes, _ = read(tmp_path / "x.conll", content)
    assert found(documents) == [("Aspirin\u00a0(100  mg) .", [(0, 7, "drug", "Aspirin")])]
    assert not notes


def test_tokens_that_are_not_in_the_text_are_told(tmp_path: Path) -> None:
    content = "# text = \"Zinc\"\n``\tO\nZinc\tB-drug\n''\tO\n"
    documents, notes, _ = read(tmp_path / "x.conll", content)
    assert found(documents) == [("`` Zinc ''", [(3, 7, "drug", "Zinc")])]
    assert len(notes) == 1
    assert "are not those of" in notes[0]


def test_space_after_is_heeded_without_a_text(tmp_path: Path) -> None:
    content = "1\tZinc\tB-drug\tSpaceAfter=No\n2\t.\tO\t_\n"
    assert found(read(tmp_path / "x.conll", content)[0]) == [("Zinc.", [(0, 4, "drug", "Zinc")])]


@pytest.mark.parametrize(
    ("name", "content", "is_one"),
    [
        ("x.txt", "Vitamin B\n", False),
        ("x.txt", "Aspirin helps.\nZinc does, too.\n", False),
        ("x.tsv", "id\ttext\n1\tAspirin\n", False),
        ("x.tsv", "Aspirin\tB-drug\nhelps\tO\n", True),
        ("x.txt", "Aspirin NN B-drug\nhelps VB O\n", True),
        ("x.txt", "", False),
        ("x.conll", "Vitamin B\n", True),
    ],
)
def test_texts_and_tables_are_no_tokens(name: str, content: str, is_one: bool) -> None:
    assert recognises_conll(Path(name), content) == is_one


def test_a_token_may_end_with_a_blank(tmp_path: Path) -> None:
    content = "5 mg \tB-dose\n"
    assert found(read(tmp_path / "x.conll", content)[0]) == [("5 mg ", [(0, 5, "dose", "5 mg ")])]


def test_a_hash_may_be_a_token_and_a_comment_is_none(tmp_path: Path) -> None:
    content = '#\thttp://x.org [2009]\n1\t#\tO\tO\n2\tZinc\tB-drug\tO\n3\t"\tO\tO\n'
    assert found(read(tmp_path / "x.conll", content)[0])[0][0] == '# Zinc "'
    assert found(read(tmp_path / "x.conll", "#\tO\nZinc\tB-drug\n")[0])[0][0] == "# Zinc"


def test_two_layers_of_names_are_both_read(tmp_path: Path) -> None:
    content = "1\tAcetyl\tB-drug\tO\n2\tsalicylate\tI-drug\tB-group\n"
    documents, notes, _ = read(tmp_path / "x.conll", content)
    assert found(documents)[0][1] == [(0, 17, "drug", "Acetyl salicylate"), (7, 17, "group", "salicylate")]
    assert "columns 3 and 4" in notes[0]


def test_documents_are_what_docstart_separates(tmp_path: Path) -> None:
    content = "-DOCSTART- O\n\na O\nb O\n\nc O\n\n-DOCSTART- O\n\nd O\ne B-x\n"
    documents = read(tmp_path / "x.conll", content)[0]
    assert [(d.id, [s.id for s in d], [s.text for s in d]) for d in documents] == [
        ("x.1", ["x.1.s0", "x.1.s1"], ["a b", "c"]),
        ("x.2", ["x.2.s0"], ["d e"]),
    ]


def test_offsets_of_tokens_are_heeded(tmp_path: Path) -> None:
    content = "O\t2\t6\tTake\tVB\nB-drug\t8\t12\tzinc\tNN\nO\t12\t13\t.\t.\n\nB-drug\t15\t19\tIron\tNN\n"
    [document], notes, damaged = read(tmp_path / "x.conll", content)
    assert document.text == "  Take  zinc.  Iron"
    assert found([document]) == [
        ("Take  zinc.", [(6, 10, "drug", "zinc")]),
        ("Iron", [(0, 4, "drug", "Iron")]),
    ]
    assert [(m.start, m.end) for _, m in document.located()] == [(8, 12), (15, 19)]
    assert "at their offsets" in notes[0]
    assert not damaged


def test_a_line_with_the_wrong_columns_is_named_and_its_sentence_left_out(tmp_path: Path) -> None:
    content = "a\tO\nbad line\nc\tO\n\nd\tB-x\ne\tO\n\nf\tB-x\ng\tO\n"
    documents, _, damaged = read(tmp_path / "x.conll", content)
    assert found(documents) == [("d e", [(0, 1, "x", "d")]), ("f g", [(0, 1, "x", "f")])]
    assert damaged == [
        f"{tmp_path}/x.conll: line 2: 1 columns instead of 2 (separated by tabs): 'bad line'; "
        "the sentence is left out"
    ]


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("", None, "the file is empty"),
        ("\n\n", None, "the file is empty"),
        ("Aspirin helps against pain.\nSo does it.\n", None, "no column holds tags"),
        ("Aspirin\nhelps\n", None, "no columns: line 'Aspirin'"),
        ("a b c\nd e f\n", ("x", "y", "tag"), "none of the columns x, y, tag is the token"),
        ("a b c\nd e f\n", ("token", "tag"), "line 1: 3 columns instead of 2"),
        ("a b c\n", ("token", "_", "tag"), "sentence at line 1: 'c' is not a tag"),
    ],
)
def test_a_file_that_is_none_is_refused(
    tmp_path: Path, content: str, columns: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path / "x.conll", content, columns)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_may_be_named(tmp_path: Path) -> None:
    content = "B-VP O Take\nO B-drug zinc\n"
    documents = read(tmp_path / "x.conll", content, ("_", "tag", "token"))[0]
    assert found(documents) == [("Take zinc", [(5, 9, "drug", "zinc")])]


def written(documents: Sequence[Document]) -> tuple[str, Losses]:
    losses = Losses()
    return "".join(write_conll(documents, losses)), losses


@given(corpus=CORPORA)
def test_what_is_written_is_read_back_and_written_again_alike(
    tmp_path_factory: pytest.TempPathFactory, corpus: list[Document]
) -> None:
    corpus = [document for document in corpus if document.sentences]
    text, losses = written(corpus)
    path = tmp_path_factory.mktemp("conll") / "x.conll"
    if not any(sentence.text.strip() for document in corpus for sentence in document):
        return
    back, _, damaged = read(path, text)
    assert not damaged
    assert written(back)[0] == text
    for before, after in zip(corpus, back, strict=True):
        assert single_line(before.id) == after.id
        for one, other in zip(before, after, strict=True):
            assert single_line(one.text) == other.text
            if not losses.counts:
                assert {m.spans for m in one.mentions} == {m.spans for m in other.mentions}


def test_a_mention_inside_a_word_keeps_its_characters() -> None:
    document = Document.of_text("d", "xaspirin1000", [Mention((Span(1, 8),), "drug", "aspirin")])
    lines = written([document])[0].splitlines()
    assert lines[4:7] == ["x\tO", "aspirin\tB-drug", "1000\tO"]


def test_what_has_no_room_is_counted() -> None:
    text = "H1 and H2 blockers\nnot"
    mentions = [
        Mention((Span(0, 2), Span(10, 18)), "group", "H1 blockers", 0.5),
        Mention((Span(7, 18),), "group", "H2 blockers"),
        Mention((Span(7, 9),), "drug", "H2"),
    ]
    content, losses = written([Document.of_text("d", text, mentions)])
    assert "H1\tO\nand\tO\nH2\tB-group\nblockers\tI-group\n" in content
    assert losses.counts == {
        "mentions left out because they overlap others (the longest is kept)": 2,
        "confidences left out": 1,
        "line breaks in sentences written as spaces": 1,
    }


def test_sentences_keep_their_places_in_the_document(tmp_path: Path) -> None:
    zinc = Mention((Span(0, 4),), "drug", "Zinc")
    document = Document(
        "d", (Sentence("d.s0", "No."), Sentence("d.s1", "Zinc.", (zinc,), start=5)), "No.  Zinc."
    )
    assert read(tmp_path / "x.conll", written([document])[0])[0] == [document]
    parts = [document, replace(document, start=100, continues=True)]
    [first, second] = read(tmp_path / "x.conll", written([document, replace(document, id="e")])[0])[0]
    assert (first.text, second.text) == (document.text, document.text)
    assert written(parts)[0].count("# newdoc") == 1


def test_the_parts_of_a_long_document_continue_it_with_or_without_a_text(tmp_path: Path) -> None:
    lines = [
        f"# start = {8 * n}\n# text = Zinc {n % 10}.\nZinc\tB-drug\n{n % 10}\tO\n.\tO\n\n"
        for n in range(4001)
    ]
    for name, content in {"placed": lines, "apart": [line.partition("\n")[2] for line in lines]}.items():
        documents, *_ = read(tmp_path / f"{name}.conll", "".join(content))
        assert [(d.id, len(d.sentences), d.continues) for d in documents] == [
            (name, 2000, False),
            (name, 2000, True),
            (name, 1, True),
        ]
        assert len({s.id for d in documents for s in d}) == 4001
        assert {d.text is None for d in documents} == {name == "apart"}
        assert written(documents)[0].count("# newdoc") == 1


def test_after_a_part_without_a_text_no_other_has_one(tmp_path: Path) -> None:
    lines = [f"# start = {5 * n}\n# text = Zinc\nZinc\tB-drug\n\n" for n in range(2001)]
    lines[7] = lines[7].partition("\n")[2]
    assert [d.text for d in read(tmp_path / "x.conll", "".join(lines))[0]] == [None, None]
