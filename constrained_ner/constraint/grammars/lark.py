"""Lark, for llguidance."""

from __future__ import annotations

from ..automaton import Constraint
from .templates import json_text, write_rules


def render(constraint: Constraint) -> str:
    """The grammar."""
    return write_rules(constraint, "sentence.lark", json_text)
