"""Tagging: the sentence again, with tags, nothing enforced. Only the names are read, by string match.

Effect of <drug>aspirin</drug> on <group>beta-blockers</group>.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ...constraint.edges import Boundary
from ...constraint.markup import Markup
from ...data import Mention
from .form import Reading, asked
from .string_match import in_order


class FreeTags:
    """See the module. An answer is broken if a tag closes nothing or is never closed."""

    prompt = asked(("Write the sentence again, with tags around its names.",), "Tagged:")

    def __init__(self, markup: Markup) -> None:
        self.markup = markup

    def write(self, text: str, mentions: Iterable[Mention], boundary: Boundary = "word") -> str:
        return self.markup.write(text, mentions)

    def read(self, text: str, answer: str) -> Reading:
        parsed = self.markup.parse(answer)
        entries = [(parsed.plain[span.start : span.end], name) for name, span in parsed.mentions]
        n_unknown = sum(tag not in text for tag in parsed.unknown_tags)
        broken = len(parsed.problems) > len(parsed.unknown_tags)
        return replace(in_order(text, entries), n_unknown=n_unknown, broken=broken)

    def grammar(self, text: str) -> None:
        """None: tags under a grammar are this package's own form."""
