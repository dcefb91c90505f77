"""XML as people have it: in name spaces, in any encoding Python knows, with control characters.

The parser (expat) takes Unicode and the common single-byte code pages, and refuses what XML 1.0 forbids. A
file that it refuses is decoded here, its forbidden characters are replaced by stand-ins, and it is parsed
again; afterwards the stand-ins become what they stood for. Texts are then verbatim, whatever the file.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring, iterparse

from ..errors import InputError
from ..files import reason, require_content
from .protocol import Losses

_DECLARATION = re.compile(r"\s*<\?xml\s[^>]*?\?>")
_ENCODING = re.compile(rb"""<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']""")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MARKS_OF_WIDE = tuple(mark for mark, name in _MARKS if name != "utf-8-sig")
_FORBIDDEN = "\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff"
"""The characters that XML 1.0 forbids, besides lone surrogates."""

_REFERENCE = re.compile(r"&#(?:x([0-9A-Fa-f]{1,6})|([0-9]{1,7}));")
_STAND_INS = 0x10F800
"""Private characters of the last plane; stand for forbidden ones while a file is parsed."""


def read_xml(path: Path) -> Element:
    """The root of an XML file, names without name spaces.

    Raises InputError naming the file and what is wrong with it. XML entity definitions and external entities
    are refused, so that a file can neither read other files nor blow up in memory.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None
    require_content(path, InputError, content)
    if not content.strip():
        raise InputError(f"{path}: not XML: no element found: the file is empty")
    try:
        return _parse(content)
    except DefusedXmlException as error:
        name = getattr(error, "name", None) or getattr(error, "sysid", None)
        raise InputError(
            f"{path}: XML entities and external references are refused (found {name!r:.80})"
        ) from None
    except (ParseError, ValueError, LookupError) as error:  # the last two: unknown encodings
        raise InputError(f"{path}: not XML: {error}{_advice(content)}") from None


def xml_elements(path: Path, tag: str) -> Iterator[Element]:
    """The elements of a tag, one at a time; each is gone when the next one is asked for.

    Raises InputError as `read_xml` does, when it gets there.
    """
    n_given = 0
    try:
        with path.open("rb") as file:
            for _, element in iterparse(file):
                if element.tag.rpartition("}")[2] == tag:
                    _without_name_spaces(element)
                    yield element
                    n_given += 1
                    element.clear()
        return
    except (OSError, DefusedXmlException, ParseError, ValueError, LookupError):
        pass  # `read_xml` repairs it, or says what is wrong
    yield from islice(read_xml(path).iter(tag), n_given, None)


def _without_name_spaces(root: Element) -> None:
    """Example: the element "{http://x.org}sentence" becomes "sentence"."""
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for name in [name for name in element.attrib if name[0] == "{"]:
            element.attrib.setdefault(name.rpartition("}")[2], element.attrib.pop(name))


def _parse(content: bytes) -> Element:
    try:
        root: Element = fromstring(content)
    except DefusedXmlException:
        raise
    except (ParseError, ValueError, LookupError):
        text = _readable(content)
        if text is None:
            raise
        repaired = _parse_text(text)
        if repaired is None:
            raise  # what was wrong with the file as it is, not with the text made of it
        root = repaired
    if "{" in root.tag or b"xmlns" in content or content.startswith(_MARKS_OF_WIDE):
        _without_name_spaces(root)
    return root


def _parse_text(text: str) -> Element | None:
    try:
        root: Element = fromstring(text)
    except ParseError:
        return None
    _restore(root)
    return root


def _readable(content: bytes) -> str | None:
    """The content as text that a parser of XML 1.0 takes; None if it is not text in its encoding."""
    try:
        text = content.decode(_encoding(content))
    except (UnicodeDecodeError, LookupError):
        return None
    text = _DECLARATION.sub("", text, count=1)
    if any(_STAND_INS <= ord(character) < _STAND_INS + 34 for character in set(text)):
        return None
    text = _REFERENCE.sub(_without_forbidden, text)
    return re.sub(f"[{_FORBIDDEN}]", lambda match: _stand_in(ord(match[0])), text)


def _encoding(content: bytes) -> str:
    for mark, name in _MARKS:
        if content.startswith(mark):
            return name
    declared = _ENCODING.match(content.lstrip()[:300])
    return declared[1].decode() if declared else "utf-8"


def _without_forbidden(reference: re.Match[str]) -> str:
    code = int(reference[1], 16) if reference[1] else int(reference[2])
    if 0xD800 <= code < 0xE000:  # half a character: no text can hold it
        return "\ufffd"
    if code < 0x10000 and re.match(f"[{_FORBIDDEN}]", chr(code)):
        return _stand_in(code)
    return reference[0]


def _stand_in(code: int) -> str:
    return chr(_STAND_INS + (code if code < 0x20 else code - 0xFFFE + 0x20))


_RESTORED = {
    **{_STAND_INS + code: code for code in range(0x20)},
    _STAND_INS + 0x20: 0xFFFE,
    _STAND_INS + 0x21: 0xFFFF,
}


def _restore(root: Element) -> None:
    for element in root.iter():
        for name, value in element.attrib.items():
            element.attrib[name] = value.translate(_RESTORED)
        element.text = element.text and element.text.translate(_RESTORED)
        element.tail = element.tail and element.tail.translate(_RESTORED)


def _advice(content: bytes) -> str:
    """What to do about a file whose bytes are not in its encoding; empty if they are."""
    encoding = _encoding(content)
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        return (
            f" (byte {error.start} is not {encoding}: state the encoding in the first line, "
            'such as <?xml version="1.0" encoding="windows-1252"?>)'
        )
    except LookupError:
        pass
    return ""


# ---- writing

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"}
_TO_ESCAPE = re.compile('[&<>"\r]')
_TO_REPLACE = re.compile(f"[{_FORBIDDEN}\ud800-\udfff]")


def escaped(text: str, losses: Losses) -> str:
    """Text for an element, as a parser reads it back: `&lt;` for `<`.

    Characters that XML forbids become U+FFFD, so that no offset changes.
    """
    if replaced := len(_TO_REPLACE.findall(text)):
        losses.add("characters that XML forbids written as U+FFFD", replaced)
        text = _TO_REPLACE.sub("\ufffd", text)
    return _TO_ESCAPE.sub(lambda match: _ESCAPES[match[0]], text)


def quoted(value: str, losses: Losses) -> str:
    """A value for an attribute, in quotation marks. A parser would read a line break as a space."""
    return f'"{escaped(value, losses)}"'.replace("\n", "&#10;").replace("\t", "&#9;")
