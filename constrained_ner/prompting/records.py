"""Plain records, for a list of names from a model without a chat template.

    Sentence: Effect of aspirin.
    Names: aspirin = drug
    Sentence: ...

A base model goes on with such a text. The answer is in the line of its question, so it begins with a space,
and a line break ends it.

In a trial on 30 sentences of DDI train with 20 examples, Gemma 3 270M found names with a typed F1 of 52 this
way, and of 46 with each answer in a line of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..constraint.answer_form import AnswerName
from ..vocabulary import Vocabulary

RECORD_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{{ {'system': '\n\n', 'assistant': '\n'}.get(message['role'], '') }}{% endfor %}"
)
"""The instructions, a blank line, and then each question and answer without anything between them."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """How a model is asked for answers of a form.

    template: its chat template, or `RECORD_TEMPLATE`; None for messages in lines of their own.
    end_ids: tokens that end an answer besides the stop tokens. leading_space: an answer begins with a space.
    """

    template: str | None
    end_ids: frozenset[int] = frozenset()
    leading_space: bool = False

    @classmethod
    def of(cls, form: AnswerName, chat_template: str | None, vocabulary: Vocabulary) -> Conversation:
        """As the model's chat template has it, or without one in plain records, if the form is a list."""
        if chat_template is not None or form == "tags":
            return cls(chat_template, leading_space=vocabulary.leading_space)
        return cls(RECORD_TEMPLATE, _line_breaks(vocabulary), leading_space=True)


def _line_breaks(vocabulary: Vocabulary) -> frozenset[int]:
    """The tokens that consist of line breaks."""
    found = {
        token_id
        for token_id, piece in enumerate(vocabulary.token_bytes)
        if piece and not piece.strip(b"\n") and token_id not in vocabulary.control_ids
    }
    return frozenset(found)
