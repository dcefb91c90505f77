"""The forms, by name. To add one: a class that is a `PeerForm`, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...constraint.markup import Markup
from .form import PeerForm
from .free_tags import FreeTags
from .json_names import JsonNames, JsonOccurrences
from .positions import Positions

FORMS: Mapping[str, Callable[[Markup], PeerForm]] = {
    "free tags": FreeTags,
    "positions": Positions,
    "JSON of names": JsonNames,
    "JSON with occurrences": JsonOccurrences,
}
