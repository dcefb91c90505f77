"""Text with tags: what is a tag and what is text, nesting, parts of long files."""

from __future__ import annotations

from pathlib import Path

import pytest

from constrained_ner.data import Document, Mention, Sentence, Span
from constrained_ner.errors import InputError
from constrained_ner.formats import inline
from constrained_ner.formats.inline import write_inline
from constrained_ner.formats.protocol import Losses


def file(folder: Path, content: str) -> Path:
    path = folder / "x.inline"
    path.write_bytes(content.encode())
    return path


def places(documents: list[Document]) -> list[tuple[int, int, str, str]]:
    return [(m.start, m.end, m.text, m.type) for d in documents for _, m in d.located()]


def test_a_line_is_a_sentence(tmp_path: Path, read) -> None:
    content = "Effect of <drug>aspirin</drug>.\n\nOn <group>beta-blockers</group>.\r\n"
    (document,), told = read("inline", file(tmp_path, content))
    assert document.text == "Effect of aspirin.\n\nOn beta-blockers.\r\n"
    assert [(s.id, s.text) for s in document] == [
        ("x.s0", "Effect of aspirin."),
        ("x.s1", "On beta-blockers."),
    ]
    assert places([document]) == [(10, 17, "aspirin", "drug"), (23, 36, "beta-blockers", "group")]
    assert document.in_sentences
    assert not told


@pytest.mark.parametrize(
    ("line", "text", "found"),
    [
        ("p < 0.05 & <b", "p < 0.05 & <b", []),
        ("&lt;b&gt; &amp;lt; &#181;&#xb5; &nbsp;", "<b> &lt; µµ &nbsp;", []),
        ("&#1114112;&#xD800;", "&#1114112;&#xD800;", []),
        ("<a><b>x</b> y</a>", "x y", [(0, 1, "x", "b"), (0, 3, "x y", "a")]),
        ('<e type="two words">x</e>', "x", [(0, 1, "x", "two words")]),
        ("<ENAMEX TYPE='LOC'>x</ENAMEX>", "x", [(0, 1, "x", "LOC")]),
        ('x<relation type="r" subj="T1" />', "x", []),
        ("<a></a>x", "x", []),
    ],
)
def test_tags_and_literal_characters(tmp_path: Path, read, line: str, text: str, found: list[object]) -> None:
    (document,), _ = read("inline", file(tmp_path, line))
    assert (document.text, places([document])) == (text, found)


def test_a_mention_may_go_on_in_the_next_line(tmp_path: Path, read) -> None:
    (document,), _ = read("inline", file(tmp_path, "An <a>iron\noxide</a>."))
    assert places([document]) == [(3, 13, "iron\noxide", "a")]
    assert [(s.id, s.text) for s in document] == [("x.s0", "An iron\noxide.")]


def test_sentences_are_numbered_through_the_parts_whatever_lies_across_lines(tmp_path: Path, read) -> None:
    content = "Take <drug>as\npirin</drug> now. Or not.\n" + "One. Two.\n" * 110_000
    parts, _ = read("inline", file(tmp_path, content + "<drug>\nZinc</drug>\n"))
    assert [part.continues for part in parts] == [False, True]
    ids = [sentence.id for part in parts for sentence in part]
    assert ids == [f"x.s{n}" for n in range(110_002)]
    assert all(part.in_sentences for part in parts)
    assert [name for _, _, name, _ in places(parts)] == ["as\npirin", "\nZinc"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x\n<a>y\n", r"x.inline: line 2: <a> is not closed"),
        ("x\ny</a>", r"x.inline: line 2: </a> closes nothing: no tag is open"),
        ("<a><b>x</a></b>", r"x.inline: line 1: </a> closes nothing: <b> is open"),
        ("", "no text in this file"),
    ],
)
def test_tags_that_do_not_match_are_refused_with_their_line(
    tmp_path: Path, read, content: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read("inline", file(tmp_path, content))


def test_empty_mentions_are_counted(tmp_path: Path, read) -> None:
    _, told = read("inline", file(tmp_path, "<a></a>x<b></b>"))
    assert told == [f"{tmp_path / 'x.inline'}: 2 mentions are empty and are left out"]


def test_a_long_file_comes_in_parts_that_are_written_as_one(
    tmp_path: Path, read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inline, "_PART", 9)
    content = "First <a>x</a>.\nThen <b>y\nand</b> z.\nEnd.\n"
    parts, _ = read("inline", file(tmp_path, content))
    assert [(d.id, d.start) for d in parts] == [("x", 0), ("x", 9), ("x", 23)]
    assert places(parts) == [(6, 7, "x", "a"), (14, 19, "y\nand", "b")]
    assert "".join(write_inline(parts, Losses())) == content.replace("y\n", "y&#10;")  # within a sentence
    assert len({sentence.id for part in parts for sentence in part}) == 3


def mention(text: str, start: int, type: str = "drug") -> Mention:
    return Mention((Span(start, start + len(text)),), type, text)


def test_what_is_written_is_escaped_and_losses_are_counted() -> None:
    sentences = (
        Sentence("s0", "a <b> & c\nd", (mention("<b>", 2), mention("b> &", 3), mention("c", 8, "two words"))),
        Sentence("s1", "x y z", (Mention((Span(0, 1), Span(4, 5)), "drug", "x z", 0.5),)),
    )
    losses = Losses()
    text = "".join(write_inline([Document("d", sentences), Document("e", (Sentence("e0", "e"),))], losses))
    assert text.splitlines() == [
        'a <drug>&lt;b></drug> &amp; <entity type="two words">c</entity>&#10;d',
        "<drug>x y z</drug>",
        "e",
    ]
    assert losses.counts == {
        "mentions left out because they cross an earlier one": 1,
        "discontinuous mentions written from their first to their last character": 1,
        "confidences left out": 1,
        "borders between documents left out": 1,
    }
