"""The forms that an answer may have, behind one seam: what comes after does not know which it was.

    tags   the sentence again, with tags in it     Take <drug>aspirin</drug>.
    list   its names, with their types             aspirin = drug

A form writes answers (for prompts and training), and makes the automaton of a sentence (for servers, and for
reading). With a vocabulary it makes the legal tokens of a sentence (for decoding).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, Protocol

from ..data import Mention
from ..vocabulary import Vocabulary
from .automaton import Constraint, TagMachine
from .bias import Bias, TypeBias
from .edges import Boundary
from .legal import LegalTokens, LegalTokenSets, TokenRule
from .list_automaton import ListAutomaton
from .list_bias import ListBias
from .list_machine import ListMachine
from .list_place_bias import ListPlaceBias
from .list_tokens import LegalListTokens, ListTokens
from .markup import Markup
from .name_list import NameList
from .place_bias import KnownName, PlaceBias
from .sentence_automaton import SentenceAutomaton
from .tag_tokens import TagTokens

AnswerName = Literal["tags", "list"]


class AnswerTokens(Protocol):
    """How a vocabulary spells the answers of a form. Shared by all sentences.

    controls: token id -> bytes, for the control tokens that an answer may have.
    """

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def controls(self) -> Mapping[int, bytes]: ...

    def of(self, text: str, rule: TokenRule = "canonical", boundary: Boundary = "word") -> LegalTokenSets:
        """The legal tokens of a sentence."""

    def bias(self, by_type: Mapping[str, float]) -> Bias:
        """A bias for each type. Raises SchemaError for one that is not in the schema."""

    def place_bias(self, names: Iterable[KnownName], text: str, boundary: Boundary = "word") -> Bias:
        """A bias where a sentence has known names, which are disjoint."""


class AnswerForm(Protocol):
    """What an answer looks like, for one schema.

    markup: of the schema; it also says which mentions a form can express.
    """

    @property
    def name(self) -> AnswerName: ...

    @property
    def markup(self) -> Markup: ...

    def constraint(
        self, text: str, *, boundary: Boundary = "word", leading_space: bool = False
    ) -> SentenceAutomaton:
        """The legal answers for a sentence."""

    def write(self, text: str, mentions: Iterable[Mention], boundary: Boundary = "word") -> str:
        """The answer with these mentions, which must be expressible (see `Markup.expressible`)."""

    def spelt(
        self,
        vocabulary: Vocabulary,
        *,
        end_ids: Iterable[int] = (),
        leading_space: bool | None = None,
    ) -> AnswerTokens:
        """The form with a vocabulary.

        end_ids: tokens that end an answer besides the stop tokens. leading_space: whether answers begin with
        a space; None for what the tokenizer does.
        """


def answer_form(name: AnswerName, markup: Markup, *, occurrences: bool = False) -> AnswerForm:
    """The form of this name. occurrences: see `name_list`."""
    return Tags(markup) if name == "tags" else NamesWithTypes(markup, occurrences=occurrences)


class Tags:
    """The sentence again, with tags."""

    name: AnswerName = "tags"

    def __init__(self, markup: Markup) -> None:
        self.markup = markup
        self.machine = TagMachine(markup)

    def constraint(
        self, text: str, *, boundary: Boundary = "word", leading_space: bool = False
    ) -> Constraint:
        return Constraint(text, self.machine, boundary=boundary, leading_space=leading_space)

    def write(self, text: str, mentions: Iterable[Mention], boundary: Boundary = "word") -> str:
        return self.markup.write(text, mentions)

    def spelt(
        self,
        vocabulary: Vocabulary,
        *,
        end_ids: Iterable[int] = (),
        leading_space: bool | None = None,
    ) -> _SpeltTags:
        """end_ids: not used, because the sentence may contain them, and an answer ends with it anyway."""
        return _SpeltTags(self, vocabulary, leading_space)


class _SpeltTags:
    def __init__(self, form: Tags, vocabulary: Vocabulary, leading_space: bool | None) -> None:
        self._form = form
        self.vocabulary = vocabulary
        self._leading_space = vocabulary.leading_space if leading_space is None else leading_space
        self.tag_tokens = TagTokens(form.machine, vocabulary)
        self.controls: Mapping[int, bytes] = self.tag_tokens.controls

    def of(self, text: str, rule: TokenRule = "canonical", boundary: Boundary = "word") -> LegalTokens:
        constraint = self._form.constraint(text, boundary=boundary, leading_space=self._leading_space)
        return LegalTokens(constraint, self.tag_tokens, rule)

    def bias(self, by_type: Mapping[str, float]) -> TypeBias:
        return TypeBias(by_type, self._form.machine, self.vocabulary)

    def place_bias(self, names: Iterable[KnownName], text: str, boundary: Boundary = "word") -> PlaceBias:
        return PlaceBias(names, self._form.machine, self.vocabulary)


class NamesWithTypes:
    """A list of names, each with its type."""

    name: AnswerName = "list"

    def __init__(self, markup: Markup, *, occurrences: bool = False) -> None:
        self.markup = markup
        self.names = NameList(markup, occurrences=occurrences)
        self.machine = ListMachine(self.names)

    def constraint(
        self, text: str, *, boundary: Boundary = "word", leading_space: bool = False
    ) -> ListAutomaton:
        return ListAutomaton(text, self.machine, boundary=boundary, leading_space=leading_space)

    def write(self, text: str, mentions: Iterable[Mention], boundary: Boundary = "word") -> str:
        return self.names.write(text, mentions, boundary)

    def spelt(
        self,
        vocabulary: Vocabulary,
        *,
        end_ids: Iterable[int] = (),
        leading_space: bool | None = None,
    ) -> _SpeltNames:
        return _SpeltNames(self, vocabulary, end_ids, leading_space)


class _SpeltNames:
    controls: Mapping[int, bytes] = {}

    def __init__(
        self,
        form: NamesWithTypes,
        vocabulary: Vocabulary,
        end_ids: Iterable[int],
        leading_space: bool | None,
    ) -> None:
        self._form = form
        self.vocabulary = vocabulary
        self._leading_space = vocabulary.leading_space if leading_space is None else leading_space
        self._tokens = ListTokens(form.machine, vocabulary, end_ids)

    def of(self, text: str, rule: TokenRule = "canonical", boundary: Boundary = "word") -> LegalListTokens:
        constraint = self._form.constraint(text, boundary=boundary, leading_space=self._leading_space)
        return LegalListTokens(constraint, self._tokens, rule, boundary)

    def bias(self, by_type: Mapping[str, float]) -> ListBias:
        return ListBias(by_type, self._form.machine, self.vocabulary)

    def place_bias(self, names: Iterable[KnownName], text: str, boundary: Boundary = "word") -> ListPlaceBias:
        constraint = self._form.constraint(text, boundary=boundary, leading_space=self._leading_space)
        return ListPlaceBias(names, constraint, self.vocabulary)
