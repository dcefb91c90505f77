"""Messages -> token ids of one model.

The model's chat template is tokenised with control tokens on; everything that comes from the prompt file or
the corpus, with control tokens off. So `<|eot_id|>` in a sentence is ten ordinary characters in every model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain

from ..data import Sentence
from ..errors import PromptError
from ..vocabulary import Vocabulary
from .chat_template import ChatTemplate
from .messages import Message, Prompts

_N_KEPT = 8192  # encoded examples and template texts that are kept for the next sentence


class PromptEncoder:
    """Encodes messages as token ids for one model.

    chat_template: Jinja source; None for `PLAIN_TEMPLATE`.
    answer_ids: tokenises the answer of an example, as decoding would have written it.
    prefix_ids: what every prompt begins with, for the back end to compute once: instructions and examples, or
        only the instructions if the examples depend on the question.
    shows_examples: False for a template that writes only the last message.
    misplaces_system: see `ChatTemplate`.

    Raises PromptError if the template refuses the messages or does not write the question exactly once.
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
        self._template = ChatTemplate(chat_template, vocabulary)
        self._encode_message = _message_encoder(vocabulary, answer_ids)
        self._message_ids = lru_cache(_N_KEPT)(self._encode_message)
        self._template_ids = lru_cache(_N_KEPT)(vocabulary.encode_template)
        self.misplaces_system = self._template.misplaces_system
        self.shows_examples = self._shows_examples()
        if callable(prompts.examples):
            self.prefix_ids = _common_start(*(self._start([_EMPTY] * n) for n in range(3)))
        else:
            *before, _ = self._segments(prompts.prepare_messages(""))
            self.prefix_ids = tuple(chain.from_iterable(before))

    def ids(self, text: str, examples: Sequence[Sentence] | None = None) -> list[int]:
        """The ids that follow the prefix for one sentence; with these examples, if they depend on it."""
        segments = self._segments(self.prompts.prepare_messages(text, examples=examples))
        ids = list(chain.from_iterable(segments))
        n_prefix = len(self.prefix_ids)
        if tuple(ids[:n_prefix]) != self.prefix_ids:
            raise PromptError(
                "the chat template's opening changes with the number of examples "
                f"({len(examples or ())} here): show every sentence the same examples, or none"
            )
        return ids[n_prefix:]

    def n_tokens(self, examples: Sequence[Sentence]) -> int:
        """Length of the prompt with these examples, without the question's text."""
        return sum(map(len, self._segments(self.prompts.prepare_messages("", examples=examples))))

    def _start(self, examples: Sequence[Sentence]) -> list[int]:
        """The ids before the first sentence, which is an example's or the question."""
        return self._segments(self.prompts.prepare_messages("", examples=examples))[0]

    def _shows_examples(self) -> bool:
        messages = self.prompts.prepare_messages("", examples=[_EMPTY])
        shown = self._template.render([message.role for message in messages])
        return all(n in shown for n, message in enumerate(messages) if message.role != "system")

    def _segments(self, messages: Sequence[Message]) -> list[list[int]]:
        """The ids, cut where a sentence begins; the last segment begins with the question's."""
        pieces = self._template.render([message.role for message in messages])
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
        """Add the template's own text; return the blanks that belong to the message that follows.

        These are the text's last blanks, or the one with which a SentencePiece tokenizer begins whatever
        follows a control token. An answer brings its own.
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


_EMPTY = Sentence("", "")


def _message_encoder(
    vocabulary: Vocabulary, answer_ids: Callable[[Sentence], list[int]]
) -> Callable[[Message, str], list[int]]:
    """Message and the blanks before it -> ids. No method: a cache over one would keep the encoder alive."""

    def encode(message: Message, blanks: str) -> list[int]:
        if message.sentence is not None:
            return answer_ids(message.sentence)
        return vocabulary.encode(blanks + message.content)

    return encode


def _common_start(*sequences: Sequence[int]) -> tuple[int, ...]:
    """The longest common prefix."""
    start: list[int] = []
    for column in zip(*sequences, strict=False):
        if len(set(column)) > 1:
            break
        start.append(column[0])
    return tuple(start)
