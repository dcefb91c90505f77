"""Lark, for llguidance."""

from __future__ import annotations

from ..sentence_automaton import SentenceAutomaton
from .templates import json_text, write_rules


def render(constraint: SentenceAutomaton) -> str:
    """The grammar."""
    return write_rules(constraint, "lark", json_text)
