"""The drafter that goes with a form of the answer."""

from __future__ import annotations

from collections.abc import Sequence

from ..constraint.legal import LegalTokens, LegalTokenSets
from ..constraint.list_tokens import LegalListTokens
from ..data import Mention
from .draft import CopyDrafter, Drafter
from .list_draft import ListDrafter


def drafter_for(
    legal_tokens: LegalTokenSets, expected: Sequence[Mention] = (), horizon: int | None = None
) -> Drafter:
    """A drafter for one sentence. expected: disjoint mentions that the answer is likely to have."""
    if isinstance(legal_tokens, LegalListTokens):
        return ListDrafter(legal_tokens, expected, horizon)
    assert isinstance(legal_tokens, LegalTokens), "the forms of the answer are tags and list"
    return CopyDrafter(legal_tokens, expected, horizon)
