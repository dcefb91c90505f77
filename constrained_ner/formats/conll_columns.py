"""What the columns of a CoNLL file hold: found in its first lines, or as the user says.

Aspirin NNP B-NP B-drug          the first column is the token, the last that holds tags the names
1<TAB>Aspirin<TAB>B-drug<TAB>O   numbers do not count, and two layers of names are both read
Aspirin|NNP|B-drug helps|VB|O    a sentence a line
# global.columns = ID FORM NER   the file says it itself
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..errors import InputError
from .iob_tags import is_tag

_CHUNKS = frozenset(["NP", "VP", "PP", "ADVP", "ADJP", "SBAR", "PRT", "CONJP", "INTJ", "LST", "UCP"])
"""Types of the chunks of CoNLL-2000 and 2003, which are no names."""

TOKEN_NAMES = ("token", "form", "word", "text")
TAG_NAMES = ("tag", "ner", "ne", "label", "tags", "bio", "iob", "entity")
MISC_NAMES = ("misc",)
COMMENT = re.compile(r"#\s*([\w. ]+?)\s*=[ ]?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Columns:
    """The layout of a file.

    separator: "\\t"; None for blanks; "|" for a sentence a line, its tokens separated by blanks.
    n: how many columns a line has, None if that is not known. token: the column of the token. tags: the
    columns of tags, one for each layer of names; may be none. misc: the column with SpaceAfter=No.
    start: the column that says where a token begins in its document, if there is one.
    """

    separator: str | None
    n: int | None
    token: int
    tags: tuple[int, ...]
    misc: int | None = None
    start: int | None = None

    def cells(self, line: str) -> list[str]:
        """The cells of a line."""
        return line.split(self.separator)

    def is_comment(self, line: str) -> bool:
        """Whether a line that begins with # says something of the text, and is no token."""
        if not line.startswith("#"):
            return False
        cells = self.cells(line)
        as_token = self.n is not None and len(cells) == self.n and all(is_tag(cells[n]) for n in self.tags)
        return not (as_token and self.tags)


def columns_of(path: Path, lines: Sequence[str], named: Sequence[str] | None) -> Columns:
    """The layout of a file. lines: its first ones, without line ends. named: names of the columns, if the
    user gives them; "_" for one that is not read.

    Raises InputError if there is no token or the columns cannot be detected.
    """
    declared = _declared(lines)
    names = [name.lower() for name in named or declared or ()]
    tokens = [line for line in lines if line.strip() and not line.startswith(("#", "-DOCSTART-"))]
    # A file may begin with comments only, or with nothing but tokens that are "#".
    tokens = tokens or [line for line in lines if line.strip() and not COMMENT.match(line)]
    if not tokens:
        raise InputError(f"{path}: no lines with a token")
    if names:
        columns = _of_names(path, names, tokens, declared is not None and named is None)
    elif _sentence_a_line(tokens):
        n = min(len(item.split("|")) for line in tokens[:20] for item in line.split())
        columns = Columns("|", n, 0, (n - 1,))
    else:
        columns = _found(path, tokens)
    return columns


def _declared(lines: Sequence[str]) -> list[str] | None:
    for line in lines:
        match = COMMENT.match(line)
        if match and match[1].replace(" ", "") == "global.columns":
            return match[2].split()
    return None


def _of_names(path: Path, names: list[str], tokens: Sequence[str], declared: bool) -> Columns:
    token = [n for n, name in enumerate(names) if name in TOKEN_NAMES]
    tags = [n for n, name in enumerate(names) if name.rpartition(":")[2] in TAG_NAMES]
    misc = [n for n, name in enumerate(names) if name in MISC_NAMES]
    if not token:
        raise InputError(f"{path}: none of the columns {', '.join(names)} is the token: call one 'token'")
    separator = "\t" if declared or "\t" in tokens[0] else None
    return Columns(separator, len(names), token[0], tuple(tags), misc[0] if misc else None)


def _sentence_a_line(tokens: Sequence[str]) -> bool:
    """Whether all lines are tokens with their tags, joined by |."""
    for line in tokens[:20]:
        sizes = {item.count("|") for item in line.split()}
        last = [item.rpartition("|")[2] for item in line.split()]
        if "\t" in line or 0 in sizes or not all(map(is_tag, last)):
            return False
    return True


def _found(path: Path, tokens: Sequence[str]) -> Columns:
    separator = "\t" if sum("\t" in line for line in tokens) * 2 > len(tokens) else None
    rows = [line.split(separator) for line in tokens]
    n = Counter(map(len, rows)).most_common(1)[0][0]
    rows = [row for row in rows if len(row) == n]
    if n < 2:
        raise InputError(
            f"{path}: no columns: line {tokens[0]!r:.60} has no blank and no tab; is it plain text?"
        )
    columns = list(zip(*rows, strict=True))
    tags = [k for k, cells in enumerate(columns) if _are_tags(cells)]
    names = [k for k in tags if not _are_chunks(columns[k])] or tags[-1:]
    if names and (placed := _token_with_offsets(columns, tags)):
        return Columns(separator, n, placed[0], _side_by_side(names), start=placed[1])
    others = [k for k in range(n) if k not in tags and not _are_numbers(columns[k])]
    if not others:
        # All tokens are numbers, or letters that could be tags.
        others = [k for k in range(n) if k not in names] or [0]
    if n == 10 and not names:  # CoNLL-U
        return Columns("\t", 10, 1, (), 9)
    if not names:
        raise InputError(
            f"{path}: no column holds tags such as B-drug and O in all lines; first line: {tokens[0]!r:.60}; "
            "name the columns with --columns token,_,tag"
        )
    return Columns(
        separator, n, others[0], _side_by_side([k for k in names if k != others[0]]), _misc(columns)
    )


def _token_with_offsets(columns: Sequence[Sequence[str]], tags: Sequence[int]) -> tuple[int, int] | None:
    """The columns of the token and of its first character, if the next one has the end: "zinc", "5", "9"."""
    numbers = [
        k for k, cells in enumerate(columns) if all(cell.isdecimal() and len(cell) < 10 for cell in cells)
    ]
    for start in numbers:
        if start + 1 not in numbers:
            continue
        lengths = [int(end) - int(begin) for begin, end in zip(*columns[start : start + 2], strict=True)]
        for token in range(len(columns)):
            if token not in (start, start + 1, *tags) and lengths == [len(cell) for cell in columns[token]]:
                return token, start
    return None


def _side_by_side(tags: Sequence[int]) -> tuple[int, ...]:
    """The last of the columns and those that touch it: tags of other things stand apart."""
    last = [tags[-1]]
    for k in reversed(tags[:-1]):
        if k == last[0] - 1:
            last.insert(0, k)
    return tuple(last)


def _are_tags(cells: Sequence[str]) -> bool:
    """Whether a column holds tags, but for a damaged line in twenty."""
    return sum(map(is_tag, cells)) >= 0.95 * len(cells)


def _are_chunks(cells: Sequence[str]) -> bool:
    types = {cell.partition("-")[2] for cell in cells if cell != "O"}
    return bool(types) and types <= _CHUNKS


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether a column counts the tokens of a sentence: 1, 2, 3, and again 1."""
    if not all(re.fullmatch(r"[0-9]+([-.][0-9]+)?", cell) for cell in cells) or cells[0] not in ("0", "1"):
        return False
    numbers = [int(cell) for cell in cells if cell.isdigit()]
    return all(b == a + 1 or b in (0, 1) for a, b in pairwise(numbers))


def _misc(columns: Sequence[Sequence[str]]) -> int | None:
    found = [k for k, cells in enumerate(columns) if any("SpaceAfter=No" in cell for cell in cells)]
    return found[0] if found else None
