"""Ways to spoil a file: as a transfer, a text editor, a spreadsheet, another tool or an attacker would."""

# ruff: noqa: E501
from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

Mutation = Callable[[random.Random, bytes], bytes]

_BYTES = [
    b"\0", b"\r", b"\n", b"\r\n", b"\t", b" ", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xc3\x28", b"\x80", b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80", b"\x1b[31m", b"\xe2\x80\xae", b"\xe2\x80\xa8", b"\xc2\x85", b"\x0b", b"\x0c", b"\x1c", b"\xcc\x81",
    b"\xf0\x9f\x98\x80", b"\xc4\xb0", b"\xef\xac\x83", b"|", b";", b",", b'"', b"'", b"\\", b"<", b">", b"&", b"]]>",
    b"\\ud800", b"\\udc00\\ud800", b"\\u0000", b"&#0;", b"&#xD800;", b"&#x1F600;", b"&amp;lt;", b"<!--", b"<![CDATA[", b"# ",
    b"../", b"/", b"..", b"O", b"B-", b"I-", b"{", b"}", b"[", b"]",
]  # fmt: skip
_NUMBERS = [
    b"-1", b"0", b"1", b"2", b"7", b"00012", b"+3", b"1.5", b"1e3", b"1e999", b"-1e999", b"NaN", b"Infinity", b"2147483648",
    b"9223372036854775808", b"999999999", b"9" * 30, b"9" * 5000, "²".encode(), "٣".encode(), "１".encode(), b"0x10", b"1_0", b"", b"null",
]  # fmt: skip
_WORDS = [
    b"", b" ", b"\t", b"../../x", b"..\\..\\x", b"/etc/x", b"a/b", b".", b"..", b"a|b", b"a\nb", b"a\rb", b"CON", b"a" * 300,
    b"a" * 70000, b"=1+1", b"@x", b"-", b"'", b"<drug>", b"</drug>", b"\xc3\x84\xe2\x82\xac", b"\0", b"a;b", b"a,b", b"a:b",
    b"\xef\xbb\xbf", b"\xef\xbf\xbf", b"null", b"\\ud83d", b"#", b"-DOCSTART-", b"nan", b"\xc2\xa0",
]  # fmt: skip
_VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 3, 7, 2**31, 2**70, 1.5, 7.0, -0.0, 1e308, float("inf"), float("nan"), "", " ", "3", "x", "\ud800",
    "\udc00x\ud800", "\0", "a\nb", "a|b", "../../x", "/tmp/x", "=1+1", "\ufeff", "\u2028", "😀", "a" * 300, [], {}, [[]], [{}],
    {"x": 1}, [None], [0, 1], [[0, 1]], [[0, 1, "drug"]], ["a", "b"], {"start": 0, "end": 1}, {"": ""}, [[[[[[]]]]]],
]  # fmt: skip


def _place(random: random.Random, content: bytes) -> int:
    return random.randint(0, len(content))


def _stretch(random: random.Random, content: bytes) -> tuple[int, int]:
    start = _place(random, content)
    return start, min(len(content), start + random.choice([1, 2, 5, 20, 100, 1000]))


def flip(random: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice([1, 1, 2, 5])):
        if changed:
            changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def cut_end(random: random.Random, content: bytes) -> bytes:
    return content[: _place(random, content)]


def cut_begin(random: random.Random, content: bytes) -> bytes:
    return content[_place(random, content) :]


def delete(random: random.Random, content: bytes) -> bytes:
    start, end = _stretch(random, content)
    return content[:start] + content[end:]


def repeat(random: random.Random, content: bytes) -> bytes:
    start, end = _stretch(random, content)
    return content[:end] + content[start:end] * random.choice([1, 1, 2, 50]) + content[end:]


def insert(random: random.Random, content: bytes) -> bytes:
    at = _place(random, content)
    return content[:at] + random.choice(_BYTES) * random.choice([1, 1, 1, 3]) + content[at:]


def lines(random: random.Random, content: bytes) -> bytes:
    """Lines swapped, doubled, lost, joined."""
    parts = content.split(b"\n")
    one, other = random.randrange(len(parts)), random.randrange(len(parts))
    how = random.randrange(5)
    if how == 0:
        parts[one], parts[other] = parts[other], parts[one]
    elif how == 1:
        parts.insert(other, parts[one])
    elif how == 2:
        del parts[one]
    elif how == 3:
        parts[one] = b""
    else:
        parts[one] += parts[other]
    return b"\n".join(parts)


def line_ends(random: random.Random, content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n").replace(
        b"\n", random.choice([b"\r", b"\r\n", b"\n\r", b"\n\n", b""])
    )


def number(random: random.Random, content: bytes) -> bytes:
    """A number by another one; often a near one, as of another counting."""
    found = list(re.finditer(rb"-?\d+", content))
    if not found:
        return insert(random, content)
    match = random.choice(found)
    near = str(int(match[0][:9]) + random.choice([-1, 1, 2, 10, 1000])).encode()
    new = near if random.random() < 0.5 else random.choice(_NUMBERS)
    return content[: match.start()] + new + content[match.end() :]


def all_numbers(random: random.Random, content: bytes) -> bytes:
    by = random.choice([-1, 1, 3])
    return re.sub(rb"(?<![\w.])\d{1,9}(?![\w.])", lambda m: str(int(m[0]) + by).encode(), content)


def word(random: random.Random, content: bytes) -> bytes:
    """A field, a quoted string or what stands between two marks, by something else."""
    found = list(re.finditer(rb'(?<=")[^"\n]*(?=")|(?<=>)[^<\n]+(?=<)|[^\t\n|,; ]+', content))
    if not found:
        return insert(random, content)
    match = random.choice(found)
    new = random.choice(_WORDS) if random.random() < 0.7 else random.choice(found)[0]
    return content[: match.start()] + new + content[match.end() :]


def encoding(random: random.Random, content: bytes) -> bytes:
    text = content.decode("utf-8", "replace")
    name = random.choice(
        ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "utf-8-sig", "utf-7"]
    )
    changed = text.encode(name, "replace")
    if random.random() < 0.5:
        return changed
    at = _place(random, content)
    return content[:at] + text[at:].encode(name, "replace")


def nest(random: random.Random, content: bytes) -> bytes:
    """Deep nesting, or one very long line."""
    at = _place(random, content)
    n = random.choice([100, 3000, 60_000])
    new = random.choice(
        [
            b"[" * n,
            b'{"a":' * n,
            b"<a>" * n,
            b"(" * n,
            b"[" * n + b"]" * n,
            b"<a>" * n + b"</a>" * n,
            b"ab " * n,
            b"9" * n,
        ]
    )
    return content[:at] + new + content[at:]


def entity(random: random.Random, content: bytes) -> bytes:
    """A document type with entities, as attacks on XML readers have."""
    inside = random.choice(
        [
            b'<!ENTITY a "x">',
            b'<!ENTITY a SYSTEM "file:///etc/passwd">',
            b'<!ENTITY a "xx"><!ENTITY b "&a;&a;">',
            b"",
        ]
    )
    kind = b"<!DOCTYPE x [" + inside + b"]>"
    end = content.find(b"?>") + 2 if b"?>" in content else 0
    changed = content[:end] + kind + content[end:]
    return changed.replace(b"</", b"&a;</", 1) if random.random() < 0.5 else changed


def empty(random: random.Random, content: bytes) -> bytes:
    return random.choice(
        [
            b"",
            b"\n",
            b" \t\r\n",
            b"\xef\xbb\xbf",
            b"\xff\xfe",
            b"\0\0\0",
            b"[]",
            b"{}",
            b"null",
            b"<a/>",
            b'""',
        ]
    )


def json_node(random: random.Random, content: bytes) -> bytes:
    """A value of a JSON file by another, or a key lost or renamed; the file stays JSON."""
    in_lines = content.count(b"\n{") > 0
    chunks = content.split(b"\n") if in_lines else [content]
    at = random.randrange(len(chunks))
    try:
        value = json.loads(chunks[at])
    except (ValueError, RecursionError):
        return word(random, content)
    holders = [holder for holder in _holders([value]) if len(holder)]
    holder = random.choice(holders)
    key = random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    how = random.randrange(6)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        holder[random.choice(["", "text", "id", "label", "start", "spans", "x"])] = holder.pop(key)
    elif how == 2 and isinstance(holder, list):
        holder.append(holder[key])
    else:
        holder[key] = random.choice(_VALUES)
    chunks[at] = json.dumps(value, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    return b"\n".join(chunks)


def _holders(value: Any) -> list[Any]:
    if not isinstance(value, (dict, list)):
        return []
    inside = value.values() if isinstance(value, dict) else value
    return [value, *(holder for each in inside for holder in _holders(each))]


ANY: list[Mutation] = [
    flip, cut_end, cut_begin, delete, repeat, insert, insert, lines, lines, line_ends, number, number, number,
    all_numbers, word, word, word, encoding, nest, empty,
]  # fmt: skip


def mutated(random: random.Random, content: bytes) -> bytes:
    """The content with one to four of the mutations that make sense for it."""
    known = list(ANY)
    begin = content.lstrip()[:1]
    if begin in (b"{", b"["):
        known += [json_node] * 12
    elif begin == b"<":
        known += [entity] * 2
    for _ in range(random.choice([1, 1, 1, 2, 2, 4])):
        content = random.choice(known)(random, content)
    return content[:2_000_000]


NAMES = [
    "a b",
    "ä€",
    "a|b",
    "-x",
    "a'b\"c",
    "%41",
    "a;b",
    "con",
    "x" * 200,
    "\udcff",
    "a\\b",
    ".x",
    "a..b",
    "<a>",
    "a\tb",
]
"""Names of files, without suffix; one is not UTF-8."""
