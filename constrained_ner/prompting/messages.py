"""Wording + schema + examples -> the messages that ask for the names in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

from ..constraint.answer_form import Tags
from ..constraint.edges import Boundary
from ..constraint.markup import Markup
from ..data import Mention, Sentence
from ..schema import EntityType
from ..text.view import ViewName, shown_sentence
from .wording import PromptFile, fill

Instructions = Literal["once", "each"]
"""Where the instructions go: once, in the system message, or at the start of each user turn."""


MOST_BRIEF = 3
"""The highest brevity (see `Prompts`)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn.

    sentence: for an assistant turn, the example whose answer it is.
    n_fixed: for a user turn, how many of its first characters do not depend on the sentence.
    """

    role: str
    content: str
    sentence: Sentence | None = None
    n_fixed: int = 0


class Chooser(Protocol):
    """Chooses examples for the text of a question, the most useful last."""

    def __call__(self, question: str) -> Sequence[Sentence]: ...

    def hash(self) -> str:
        """SHA-256 of everything that decides which examples are chosen, for the run record."""


class Written(Protocol):
    """How the answers of examples are written: an `AnswerForm`, for one."""

    def write(self, text: str, mentions: Iterable[Mention], boundary: Boundary = "word") -> str: ...


class Prompts:
    """The messages that ask for the names in a sentence.

    examples: sentences with their mentions, shown before the question as turns of user and assistant; or a
        Chooser, which gives each question its own.
    instructions: where the prompt's instructions go.
    view: what is shown of examples. The question is shown as it is given.
    form: of the answers of examples; None for tags.
    brevity: how much to leave out of the description of the types: 0 nothing; 1 the examples of names; 2 all
        but the first clause; MOST_BRIEF the descriptions and the guide.
    """

    def __init__(
        self,
        file: PromptFile,
        markup: Markup,
        examples: Sequence[Sentence] | Chooser = (),
        *,
        instructions: Instructions = "once",
        boundary: Boundary = "word",
        view: ViewName = "plain",
        brevity: int = 0,
        form: Written | None = None,
    ) -> None:
        self.file = file
        self.brevity = brevity
        self.markup = markup
        self.form: Written = form or Tags(markup)
        self.examples = examples
        self.instructions: Instructions = instructions
        self._boundary: Boundary = boundary
        self._view: ViewName = view

    def showing(self, examples: Sequence[Sentence]) -> Prompts:
        """The same prompts with other examples."""
        return self._variant(examples, self.brevity)

    def briefer(self) -> Prompts:
        """The same prompts with the types described in fewer words."""
        return self._variant(self.examples, self.brevity + 1)

    def _variant(self, examples: Sequence[Sentence] | Chooser, brevity: int) -> Prompts:
        return Prompts(
            self.file,
            self.markup,
            examples,
            instructions=self.instructions,
            boundary=self._boundary,
            view=self._view,
            brevity=brevity,
            form=self.form,
        )

    def prepare_messages(
        self, question: str, answer: Sentence | None = None, *, examples: Sequence[Sentence] | None = None
    ) -> list[Message]:
        """Instructions, examples, the question, and the answer if one is given (for training).

        User and assistant turns alternate strictly.
        examples: replaces the examples of these prompts.
        """
        if examples is None:
            examples = self.examples(question) if callable(self.examples) else self.examples
        messages = [Message("system", self._system)] if self.instructions == "once" and self._system else []
        for example in examples:
            shown = shown_sentence(example, self._view)
            messages += self._turns(shown.text, shown)
        return messages + self._turns(question, answer)

    def _turns(self, text: str, answer: Sentence | None) -> list[Message]:
        before, rest = self._user
        content = before + fill([rest], {**self._schema_texts, "sentence": text})
        turns = [Message("user", content, n_fixed=len(before))]
        if answer is not None:
            kept, _ = self.markup.expressible(answer, self._boundary)
            turns.append(Message("assistant", self.form.write(answer.text, kept, self._boundary), answer))
        return turns

    @cached_property
    def _system(self) -> str:
        return fill(self.file.sysprompt, self._schema_texts)

    @cached_property
    def _user(self) -> tuple[str, str]:
        """A user turn in two parts: up to the sentence, filled, and from there on, not yet filled.

        Blanks before the sentence belong to the second part: tokens begin with blanks, they do not end with
        them.
        """
        lines = "\n".join(self.file.usrprompt)
        at = lines.index("{sentence}")
        start = len(lines[:at].rstrip(" "))
        before = fill([lines[:start]], self._schema_texts) if start else ""
        if self.instructions == "each" and self._system:
            before = f"{self._system}\n\n{before}"
        return before, lines[start:]

    def _described(self, entity_type: EntityType) -> str:
        """The line about one type, as short as the brevity asks for."""
        name, tag, said = entity_type.name, entity_type.tag, entity_type.description
        if self.brevity >= 2:
            said = re.split(r"[.:;,(]", said)[0] if self.brevity == 2 else ""
        if name != tag:
            said = f"{name}, {said}" if said else name
        examples = entity_type.examples if self.brevity == 0 else ()
        line = f"{tag}: {said}" if said or self.brevity < 3 else tag
        return line + (f" ({', '.join(examples)})" if examples else "")

    @cached_property
    def _schema_texts(self) -> dict[str, str]:
        """What the placeholders {tags}, {types} and {guide} stand for."""
        markup = self.markup
        rules = markup.schema.guide if self.brevity < 3 else ()
        numbered = [f"{n}. {rule}" for n, rule in enumerate(rules, start=1)]
        return {
            "tags": "\n".join(f"{markup.open_tag(t)}...{markup.close_tag(t)}" for t in markup.types),
            "types": "\n".join(map(self._described, markup.schema.types)),
            "guide": "\n".join(("How to decide:", *numbered)) if numbered else "",
        }
