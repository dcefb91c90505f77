"""Wording + schema + examples -> messages -> token ids.

The messages become ids through the model's own chat template: its text is tokenised with control tokens on,
everything that comes from prompt file or corpus with control tokens off. So `<|eot_id|>` in a sentence is
nine ordinary characters, whatever the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from itertools import chain
from typing import Literal

from ..constraint.edges import Boundary
from ..constraint.markup import Markup
from ..data import Sentence
from ..errors import PromptError
from ..vocabulary import Vocabulary
from .chat_template import PLAIN_TEMPLATE, ChatTemplate, Message
from .wording import PromptFile, built_in_prompts, fill

__all__ = [
    "PLAIN_TEMPLATE",
    "ChatTemplate",
    "Instructions",
    "Message",
    "PromptEncoder",
    "PromptFile",
    "Prompts",
    "built_in_prompts",
]

Instructions = Literal["once", "each"]
"""Where the instructions stand: once, as the system's message, or in each turn of the user's."""

ExamplesFor = Callable[[str], Sequence[Sentence]]
"""Examples that depend on the question's text, the most useful last."""

_N_KEPT = 8192  # encoded examples and template texts that are kept for the next sentence


class Prompts:
    """The messages that ask for the names in a sentence.

    examples: sentences with their mentions, shown before the question as turns of user and assistant; or a
        function that chooses them for a question.
    instructions: where the system's text stands.
    """

    def __init__(
        self,
        file: PromptFile,
        markup: Markup,
        examples: Sequence[Sentence] | ExamplesFor = (),
        *,
        instructions: Instructions = "once",
        boundary: Boundary = "word",
    ) -> None:
        self.file = file
        self.markup = markup
        self.examples = examples
        self.instructions: Instructions = instructions
        self._boundary: Boundary = boundary

    def showing(self, examples: Sequence[Sentence]) -> Prompts:
        """The same prompts with other examples."""
        return Prompts(
            self.file, self.markup, examples, instructions=self.instructions, boundary=self._boundary
        )

    def prepare_messages(
        self, question: str, answer: Sentence | None = None, *, examples: Sequence[Sentence] | None = None
    ) -> list[Message]:
        """Instructions, examples, the question, and the answer if one is given (for training).

        examples: instead of the usual ones. User and assistant alternate strictly.
        """
        if examples is None:
            examples = self.examples(question) if callable(self.examples) else self.examples
        messages = [Message("system", self._system)] if self.instructions == "once" and self._system else []
        for example in examples:
            messages += self._turns(example.text, example)
        return messages + self._turns(question, answer)

    def _turns(self, text: str, answer: Sentence | None) -> list[Message]:
        before, at_sentence = self._user
        content = before + fill([at_sentence], {**self._schema_texts, "sentence": text})
        turns = [Message("user", content, n_fixed=len(before))]
        if answer is not None:
            kept, _ = self.markup.expressible(answer, self._boundary)
            turns.append(Message("assistant", self.markup.write(answer.text, kept), answer))
        return turns

    @cached_property
    def _system(self) -> str:
        return fill(self.file.sysprompt, self._schema_texts)

    @cached_property
    def _user(self) -> tuple[str, str]:
        """A user's turn up to where the sentence decides; and from there on, not yet filled.

        Blanks before the sentence go with it: tokens begin with blanks, they do not end with them.
        """
        lines = "\n".join(self.file.usrprompt)
        at = lines.index("{sentence}")
        start = len(lines[:at].rstrip(" "))
        before = fill([lines[:start]], self._schema_texts) if start else ""
        if self.instructions == "each" and self._system:
            before = f"{self._system}\n\n{before}"
        return before, lines[start:]

    @cached_property
    def _schema_texts(self) -> dict[str, str]:
        markup = self.markup
        numbered = [f"{n}. {rule}" for n, rule in enumerate(markup.schema.guide, start=1)]
        return {
            "tags": "\n".join(f"{markup.open_tag(t)}...{markup.close_tag(t)}" for t in markup.types),
            "types": "\n".join(
                f"{t.name}: {t.description}" + (f" ({', '.join(t.examples)})" if t.examples else "")
                for t in markup.schema.types
            ),
            "guide": "\n".join(("How to decide:", *numbered)) if numbered else "",
        }


class PromptEncoder:
    """Messages as token ids for one model.

    chat_template: Jinja source, None for `PLAIN_TEMPLATE`.
    answer_ids: how an example's answer is tokenised (as decoding would have written it).
    prefix_ids: what every prompt begins with, for the back end to compute once: instructions and examples, or
        the instructions alone where the examples depend on the question.
    shows_examples: False for a template that writes the last message alone, whatever came before.

    Raises PromptError for a template that refuses the messages or does not show the question once.
    """

    def __init__(
        self,
        prompts: Prompts,
        vocabulary: Vocabulary,
        chat_template: str | None,
        answer_ids: Callable[[Sentence], list[int]],
    ) -> None:
        self.prompts = prompts
        self.vocabulary = vocabulary
        self._answer_ids = answer_ids
        self._template = ChatTemplate(chat_template, vocabulary)
        self._message_ids = lru_cache(_N_KEPT)(self._encode_message)
        self._template_ids = lru_cache(_N_KEPT)(vocabulary.encode_template)
        self.shows_examples = self._shows_examples()
        if callable(prompts.examples):
            self.prefix_ids = _common_start(*(self._start([_EMPTY] * n) for n in range(3)))
        else:
            *before, _ = self._segments(prompts.prepare_messages(""))
            self.prefix_ids = tuple(chain.from_iterable(before))

    def ids(self, text: str, examples: Sequence[Sentence] | None = None) -> list[int]:
        """What follows the prefix for one sentence; with these examples, if they depend on it."""
        segments = self._segments(self.prompts.prepare_messages(text, examples=examples))
        ids = list(chain.from_iterable(segments))
        n_prefix = len(self.prefix_ids)
        if tuple(ids[:n_prefix]) != self.prefix_ids:
            raise PromptError(f"the chat template begins otherwise with {len(examples or ())} examples")
        return ids[n_prefix:]

    def n_tokens(self, examples: Sequence[Sentence]) -> int:
        """Length of the prompt with these examples, the question's own text not counted."""
        return sum(map(len, self._segments(self.prompts.prepare_messages("", examples=examples))))

    def _start(self, examples: Sequence[Sentence]) -> list[int]:
        """What stands before the first sentence, an example's or the question."""
        return self._segments(self.prompts.prepare_messages("", examples=examples))[0]

    def _shows_examples(self) -> bool:
        messages = self.prompts.prepare_messages("", examples=[_EMPTY])
        shown = self._template.render(messages)
        return all(n in shown for n, message in enumerate(messages) if message.role != "system")

    def _segments(self, messages: Sequence[Message]) -> list[list[int]]:
        """The ids, cut where a sentence begins; the last segment begins with the question's."""
        pieces = self._template.render(messages)
        question = len(messages) - 1
        if pieces.count(question) != 1:
            raise PromptError("the chat template does not write the user's message exactly once")
        segments: list[list[int]] = [[]]
        for text, number in zip(pieces[0:-1:2], pieces[1::2], strict=True):
            message = messages[int(number)]
            blanks = self._write_template(segments[-1], str(text), message)
            fixed, varying = message.content[: message.n_fixed], message.content[message.n_fixed :]
            if message.role != "user":
                segments[-1] += self._message_ids(message, blanks)
                continue
            if fixed:
                segments[-1] += self._message_ids(Message("user", fixed), blanks)
                blanks = ""
            encode = self._encode_message if number == question else self._message_ids
            segments.append([*encode(Message("user", varying), blanks)])
        self._write_template(segments[-1], str(pieces[-1]), None)
        bos = self.vocabulary.bos_id
        if bos is not None and segments[0][:1] != [bos]:
            segments[0].insert(0, bos)
        return segments

    def _write_template(self, ids: list[int], text: str, following: Message | None) -> str:
        """Add the template's own text; returns the blanks that belong to the message that follows.

        Before a message these are the text's last blanks, and the one with which a SentencePiece tokenizer
        begins whatever follows a control token. An answer brings its own.
        """
        leading_space = self.vocabulary.leading_space
        blanks = ""
        if following is not None and following.sentence is None:
            bare = text.rstrip(" ")
            text, blanks = bare, text[len(bare) :]
        elif leading_space:
            text = text.removesuffix(" ")
        if text:
            ids += self._template_ids(text, inner=bool(ids))
        after_control = not ids or ids[-1] in self.vocabulary.control_ids
        return blanks or (" " if leading_space and after_control and following is not None else "")

    def _encode_message(self, message: Message, blanks: str) -> list[int]:
        if message.sentence is not None:
            return self._answer_ids(message.sentence)
        return self.vocabulary.encode(blanks + message.content)


_EMPTY = Sentence("", "")


def _common_start(*sequences: Sequence[int]) -> tuple[int, ...]:
    """The longest start that all have in common."""
    start: list[int] = []
    for column in zip(*sequences, strict=False):
        if len(set(column)) > 1:
            break
        start.append(column[0])
    return tuple(start)
