import time
from pathlib import Path

import pytest

from constrained_ner.data import Document, Mention, Sentence, Span, covered_text
from constrained_ner.errors import DamagedFilesError, InputError
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.formats.evaluator_lines import evaluator_lines, read_predictions


def write(folder: Path, content: str | bytes, name: str = "corpus.xml") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def one_sentence(inside: str = "", attributes: str = 'id="d.s0" text="Aspirin and iron."') -> str:
    return f'<dataset><document id="d"><sentence {attributes}>{inside}</sentence></document></dataset>'


def sentences_of(documents: list[Document]) -> list[Sentence]:
    return [s for document in documents for s in document]


# Reading


def test_inclusive_ends_become_half_open(tmp_path: Path) -> None:
    entity = '<entity id="d.s0.e0" charOffset="0-6" type="drug" text="Aspirin"/>'
    [document] = read_ddi(write(tmp_path, one_sentence(entity)))
    assert document == Document(
        "d", (Sentence("d.s0", "Aspirin and iron.", (Mention((Span(0, 7),), "drug", "Aspirin"),)),)
    )


def test_pieces_of_a_discontinuous_name_are_sorted(tmp_path: Path) -> None:
    entity = '<entity charOffset="12-15;0-6" type="new_type" text="Aspirin iron"/>'
    [sentence] = sentences_of(read_ddi(write(tmp_path, one_sentence(entity))))
    [mention] = sentence.mentions
    assert mention.spans == (Span(0, 7), Span(12, 16))
    assert mention.type == "new_type"


def test_a_name_that_differs_from_the_text_is_kept(tmp_path: Path) -> None:
    entity = '<entity charOffset="1-7" type="drug" text="Aspirin"/>'
    [sentence] = sentences_of(read_ddi(write(tmp_path, one_sentence(entity))))
    assert sentence.mentions[0].text == "Aspirin"


def test_mentions_come_sorted_by_offset(tmp_path: Path) -> None:
    iron = '<entity charOffset="12-15" type="drug" text="iron"/>'
    aspirin = '<entity charOffset="0-6" type="drug" text="Aspirin"/>'
    [sentence] = sentences_of(read_ddi(write(tmp_path, one_sentence(iron + aspirin))))
    assert [m.text for m in sentence.mentions] == ["Aspirin", "iron"]


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        ("", ""),
        ("iron ", "iron "),
        ("a&#10;b&#13;&#9;c", "a\nb\r\tc"),
        ("a\nb\tc", "a b c"),  # what XML prescribes for raw white space in an attribute
        ("K &lt; 3 &amp; &quot;x&quot;", 'K < 3 & "x"'),
        ("µg é Ω 😀", "µg é Ω 😀"),
    ],
)
def test_text_is_verbatim(tmp_path: Path, attribute: str, text: str) -> None:
    [sentence] = sentences_of(
        read_ddi(write(tmp_path, one_sentence(attributes=f'id="s" text="{attribute}"')))
    )
    assert sentence.text == text


def test_offsets_count_code_points(tmp_path: Path) -> None:
    content = one_sentence('<entity charOffset="3-6" type="drug" text="iron"/>', 'id="s" text="😀é iron"')
    [sentence] = sentences_of(read_ddi(write(tmp_path, content)))
    assert covered_text(sentence.text, sentence.mentions[0].spans) == "iron"


@pytest.mark.parametrize(
    "content",
    [
        '<document id="d"><sentence id="d.s0" text="x"/></document>',
        '<corpus><part><document id="d"><p><sentence id="d.s0" text="x"/></p></document></part></corpus>',
    ],
)
def test_any_root_will_do(tmp_path: Path, content: str) -> None:
    assert read_ddi(write(tmp_path, content)) == [Document("d", (Sentence("d.s0", "x"),))]


def test_a_sentence_outside_documents_gets_the_name_of_the_file(tmp_path: Path) -> None:
    content = '<r><sentence id="a" text="x"/><document id="d"><sentence id="b" text="y"/></document></r>'
    assert [d.id for d in read_ddi(write(tmp_path, content))] == ["corpus", "d"]
    assert [d.id for d in read_ddi(write(tmp_path, '<sentence id="a" text="x"/>'))] == ["corpus"]


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    for name in ("b.xml", "a.XML", ".hidden.xml", "notes.txt"):
        write(tmp_path, f'<document id="{name}"><sentence id="{name}" text="x"/></document>', name)
    (tmp_path / "MedLine").mkdir()
    write(tmp_path / "MedLine", '<document id="c"><sentence id="c" text="x"/></document>', "c.xml")
    assert [d.id for d in read_ddi(tmp_path)] == ["c", "a.XML", "b.xml"]


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("><", ">\r\n<").encode(),
        lambda text: ('<?xml version="1.0" encoding="latin-1"?>' + text).encode("latin-1"),
    ],
    ids=["bom", "utf-16", "crlf", "latin-1"],
)
def test_encodings_and_line_ends(tmp_path: Path, encode) -> None:  # type: ignore[no-untyped-def]
    content = encode(one_sentence(attributes='id="d.s0" text="é"'))
    assert read_ddi(write(tmp_path, content)) == [Document("d", (Sentence("d.s0", "é"),))]


# Bad input: one line, with the file, the sentence and the value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not XML: no element found"),
        ("just words", "not XML: syntax error: line 1, column 0"),
        ("<dataset><sentence></dataset>", "not XML: mismatched tag"),
        (b'<sentence id="a" text="\xff"/>', "not XML: not well-formed"),
        ('<?xml version="1.0" encoding="klingon"?><a/>', "not XML: unknown encoding"),
        ("<dataset/>", "no <sentence> elements"),
        (one_sentence(attributes='id="d.s0"'), "sentence d.s0: no text attribute"),
        (
            one_sentence(attributes='text="lost words"'),
            "sentence number 1 has no id (its text: 'lost words')",
        ),
        (one_sentence(attributes='id="" text="lost"'), "sentence number 1 has no id (its text: 'lost')"),
        (one_sentence(attributes='id="a|b" text="x"'), "sentence id 'a|b' contains a vertical bar"),
        ('<r><sentence id="a" text=""/><sentence id="a" text=""/></r>', "duplicate sentence id 'a'"),
    ],
)
def test_bad_files_are_named_with_their_fault(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(InputError) as caught:
        read_ddi(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (one_sentence('<entity id="e7" type="drug"/>'), "sentence d.s0: entity e7: no charOffset attribute"),
        (one_sentence('<entity type="drug"/>'), "sentence d.s0: entity number 1: no charOffset attribute"),
        (
            one_sentence('<entity id="e7" charOffset="0-6"/>'),
            "entity e7: missing or unusable type (found None)",
        ),
        (one_sentence('<entity id="e7" charOffset="5-4" type="x"/>'), "entity e7: offsets '5-4' end before"),
        (
            one_sentence('<entity id="e7" charOffset="-1-4" type="x"/>'),
            "entity e7: offsets '-1-4' are not of",
        ),
        (
            one_sentence('<entity id="e7" charOffset="0-6;" type="x"/>'),
            "entity e7: offsets '0-6;' are not of",
        ),
        (one_sentence('<entity id="e7" charOffset="٠-٦" type="x"/>'), "entity e7: offsets '٠-٦' are not of"),
        (one_sentence(f'<entity charOffset="0-{"9" * 5000}" type="x"/>'), "are not of the form"),
        (
            one_sentence('<entity id="e7" charOffset="0-1;12-17" type="x"/>'),
            "sentence d.s0: entity e7: offsets 0-1;12-17 run past the text (17 characters)",
        ),
    ],
)
def test_an_entity_that_cannot_be_read_is_left_out_and_named(
    tmp_path: Path, content: str, message: str
) -> None:
    path = write(tmp_path, content.replace("<entity", '<entity charOffset="12-15" type="drug"/><entity', 1))
    said: list[str] = []
    [sentence] = sentences_of(read_ddi(path, notify=said.append))
    assert [m.text for m in sentence.mentions] == ["iron"]
    [note] = said
    assert note.startswith(f"{path}: 1 of 2 entities cannot be read and are left out: sentence d.s0: entity ")
    assert message.replace("number 1", "number 2") in note
    assert "\n" not in note


def test_pieces_separated_by_commas(tmp_path: Path) -> None:
    entities = "".join(
        f'<entity charOffset="{offsets}" type="drug"/>'
        for offsets in ("0-6,12-15", "0-6, 12-15", "0-6; 12-15")
    )
    [sentence] = sentences_of(read_ddi(write(tmp_path, one_sentence(entities))))
    assert [m.spans for m in sentence.mentions] == [(Span(0, 7), Span(12, 16))] * 3


# Folders with damaged files


DAMAGED = {
    "cut.xml": "<document><sent",
    "empty.xml": "",
    "nul.xml": "\0" * 300,
    "no_text.xml": '<sentence id="x"/>',
}


def damaged_folder(folder: Path, **more: str) -> Path:
    for name, content in {**DAMAGED, **more}.items():
        write(folder, content, name.replace("_xml", ".xml"))
    return folder


def test_damaged_files_are_named_all_at_once(tmp_path: Path) -> None:
    damaged_folder(tmp_path, whole_xml='<sentence id="a" text="x"/>')
    with pytest.raises(DamagedFilesError) as caught:
        read_ddi(tmp_path)
    first, *others = str(caught.value).splitlines()
    assert first == f"{tmp_path}: 4 of 5 files cannot be read:"
    assert [line.split(": ")[0] for line in others] == [f"  {tmp_path / name}" for name in sorted(DAMAGED)]


def test_damaged_files_are_skipped_if_someone_is_told(tmp_path: Path) -> None:
    damaged_folder(tmp_path, whole_xml='<sentence id="a" text="x"/>')
    told: dict[str, str] = {}
    documents = read_ddi(tmp_path, on_damaged=lambda path, message: told.update({path.name: message}))
    assert [s.id for s in sentences_of(documents)] == ["a"]
    assert sorted(told) == sorted(DAMAGED)
    assert "no element found" in told["empty.xml"]


def test_a_folder_of_damaged_files_alone_is_refused_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(DamagedFilesError, match="4 of 4 files"):
        read_ddi(damaged_folder(tmp_path), on_damaged=lambda path, message: None)


def test_external_entities_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "secret", "secret.txt")
    content = f'<!DOCTYPE r [<!ENTITY x SYSTEM "file://{tmp_path}/secret.txt">]><r>&x;</r>'
    with pytest.raises(InputError, match=r"external references are refused \(found 'x'\)"):
        read_ddi(write(tmp_path, content))


def test_a_document_type_is_not_fetched(tmp_path: Path) -> None:
    content = '<!DOCTYPE r SYSTEM "http://localhost:9/ddi.dtd"><sentence id="a" text="x"/>'
    assert sentences_of(read_ddi(write(tmp_path, content))) == [Sentence("a", "x")]


def test_a_billion_laughs_are_refused_at_once(tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    content = f'<!DOCTYPE r [<!ENTITY l0 "ha">{levels}]><sentence id="a" text="&l9;"/>'
    start = time.perf_counter()
    with pytest.raises(InputError, match="XML entities and external references are refused"):
        read_ddi(write(tmp_path, content))
    assert time.perf_counter() - start < 1


def test_deep_nesting_does_not_exhaust_the_stack(tmp_path: Path) -> None:
    content = "<a>" * 50_000 + '<sentence id="s" text="x"/>' + "</a>" * 50_000
    assert read_ddi(write(tmp_path, content)) == [Document("corpus", (Sentence("s", "x"),))]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.xml: no such file or folder"):
        read_ddi(tmp_path / "nowhere.xml")


def test_a_folder_without_xml_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.xml files in this folder"):
        read_ddi(tmp_path)


# The corpus itself


@pytest.mark.parametrize(
    ("split", "n_documents", "n_sentences", "n_mentions", "n_discontinuous", "n_differing"),
    [("train", 617, 5343, 11452, 27, 19), ("devel", 142, 1477, 3125, 12, 1)],
)
def test_corpus_counts_and_gold_lines(
    shared: Path,
    split: str,
    n_documents: int,
    n_sentences: int,
    n_mentions: int,
    n_discontinuous: int,
    n_differing: int,
) -> None:
    documents = read_ddi(shared / f"data/ddi/{split}.xml")
    sentences = sentences_of(documents)
    mentions = [(s, m) for s in sentences for m in s.mentions]
    assert (len(documents), len(sentences), len(mentions)) == (n_documents, n_sentences, n_mentions)
    assert sum(m.discontinuous for _, m in mentions) == n_discontinuous
    differing = [m for s, m in mentions if not m.discontinuous and covered_text(s.text, m.spans) != m.text]
    assert len(differing) == n_differing

    gold_path = shared / f"data/ddi/{split}.gold.out"
    lines = [line for document in documents for line in evaluator_lines(document)]
    assert sorted(lines) == sorted(gold_path.read_text().splitlines())
    assert sorted(read_predictions(gold_path), key=str) == sorted(((s.id, m) for s, m in mentions), key=str)
