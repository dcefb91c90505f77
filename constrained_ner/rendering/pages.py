"""The templates of pages (`templates/pages`), and what makes a page safe whatever is in it.

    base.css       letters, tables, colours in light and dark: every page
    marks.css      names in a text: view, notebook, service
    view.css       the view: controls beside the text
    controls.html  macros: legend, slider, search, next and previous
    view.js        what the controls do with the marks of a page

A page names the hashes of its own styles and scripts. So a browser runs nothing else and asks nobody for
anything, even if a text got past the escaping.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING

from ..errors import MissingExtraError
from .palette import colours_of

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(*, autoescape: bool = True) -> Environment:
    """Jinja over the templates. autoescape: off for Markdown. Raises MissingExtraError."""
    try:
        import jinja2
    except ImportError:
        raise MissingExtraError("jinja2") from None
    return jinja2.Environment(
        loader=jinja2.PackageLoader("constrained_ner", "templates/pages"),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


@cache
def source(name: str) -> str:
    """The text of a template file that has nothing to fill in: a style sheet or a script."""
    found = environment().loader
    assert found is not None
    return found.get_source(environment(), name)[0]


def type_colours(types: Iterable[str]) -> str:
    """The style sheet that gives `t0`, `t1`, ... the colours of the types, in order."""
    return "".join(f".t{n}{{--type:{colour}}}" for n, colour in enumerate(colours_of(types).values()))


def security_policy(*, styles: Iterable[str], scripts: Iterable[str] = ()) -> str:
    """The Content-Security-Policy of a page that holds these style sheets and scripts, and nothing else."""
    rules = [("style-src", styles), ("script-src", scripts)]
    allowed = [f"{name} {' '.join(map(_hash, texts)) or _NONE}" for name, texts in rules]
    return "; ".join([f"default-src {_NONE}", *allowed, f"base-uri {_NONE}", f"form-action {_NONE}"])


_NONE = "'none'"


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
