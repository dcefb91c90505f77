"""Grammar engines of others, for stepwise decoding: peers to compare with, behind one protocol (`protocol`).

    native      this package's automaton: no engine (`constraint.legal`)
    llguidance  Lark                                    any local model
    xgrammar    GBNF                                    any local model
    gbnf        GBNF, in llama.cpp itself               GGUF models
    outlines    regular expressions, outlines-core      any local model, short sentences

They take the same language (`constraint.grammars`) and give the same answers; what differs is how long they
take. Each is imported only when it is asked for.
"""

from __future__ import annotations

from ...backends.protocol import LogitsBackend
from ...constraint.sentence_automaton import SentenceAutomaton
from ...errors import ModelError, SentenceError
from .protocol import Engine, EngineName, EngineTokens, Matcher, Spellings, WrittenTokens

__all__ = ["Engine", "EngineName", "EngineTokens", "GrammarEngine", "Matcher", "Spellings", "load_engine"]


class GrammarEngine:
    """An engine with its tables for one model's vocabulary; building them takes seconds for a large one.

    Raises MissingExtraError if it is not installed, ModelError if it does not work with the model.
    """

    def __init__(self, name: EngineName, backend: LogitsBackend, tokens: WrittenTokens) -> None:
        self.name = name
        self._spellings = Spellings(tokens)
        self._engine = load_engine(name, backend, self._spellings)

    def start(self, constraint: SentenceAutomaton) -> EngineTokens:
        """The legal tokens of a sentence. Raises SentenceError if the engine cannot take it."""
        try:
            return EngineTokens(self._engine, constraint, self._spellings)
        except SentenceError as error:
            raise SentenceError(f"the engine {self.name} cannot take this sentence: {error}") from None


def load_engine(name: EngineName, backend: LogitsBackend, spellings: Spellings) -> Engine:
    """The engine of this name. Raises what GrammarEngine raises."""
    if name == "llguidance":
        from .llguidance import LlguidanceEngine

        return LlguidanceEngine(spellings)
    if name == "xgrammar":
        from .xgrammar import XgrammarEngine

        return XgrammarEngine(spellings)
    if name == "outlines":
        from .outlines import OutlinesEngine

        return OutlinesEngine(spellings)
    if name == "gbnf":
        if backend.description["backend"] != "llama.cpp":
            raise ModelError(
                f"{backend.description['name']}: the engine gbnf is llama.cpp's own and needs a GGUF model; "
                "use llguidance or xgrammar, which work with any local model"
            )
        from ...backends.llamacpp.backend import LlamaCppBackend
        from .gbnf import GbnfEngine

        assert isinstance(backend, LlamaCppBackend)
        return GbnfEngine(spellings, backend.model)
    raise ValueError(f"unknown engine {name!r}")
