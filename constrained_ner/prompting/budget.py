"""The prompt of one model: the wording, and as many examples as there is room for.

Examples are dropped, the text of a sentence never is: a sentence that does not fit is cut in windows by the
annotator, each of which is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..data import Sentence
from ..errors import ModelError, PromptError
from ..vocabulary import Vocabulary
from .encoder import ExamplesFor, PromptEncoder, Prompts
from .examples.fitting import most_that_fit

_LEAST_ROOM = 32  # tokens for a sentence and its answer; longer ones are split
_USUAL_ROOM = 1024  # what is kept free for them, in a context of at least four times as many
_ANSWER = 3  # a sentence and its answer, with tags, have at most three times the sentence's tokens, as a rule


class FittedPrompt:
    """The ids that ask a model for the names in a text.

    prompts: with the examples that are wanted. Where they do not fit, the least useful ones are left out;
        `notify` is told of it once.
    context_length: of the model. A quarter of it, but no more than 1024 tokens, is kept free for the sentence
        and its answer.
    max_tokens: the most that instructions and examples may take, the question's own text not counted.
    prefix_ids: what all prompts begin with. room: tokens that are left after it. room_for_text: tokens that a
        question's text and its answer may have together.
    examples: those that every question gets; None where they depend on it.

    Raises ModelError where the instructions alone leave no room, PromptError where they exceed max_tokens.
    """

    def __init__(
        self,
        prompts: Prompts,
        vocabulary: Vocabulary,
        chat_template: str | None,
        answer_ids: Callable[[Sentence], list[int]],
        *,
        context_length: int,
        max_tokens: int | None,
        notify: Callable[[str], None],
    ) -> None:
        self._encoder = PromptEncoder(prompts, vocabulary, chat_template, answer_ids)
        self._context_length = context_length
        self._max_tokens = max_tokens
        self._notify: Callable[[str], None] | None = notify
        self._choose: ExamplesFor | None = None
        self.examples: tuple[Sentence, ...] | None = None
        n_bare = self._encoder.n_tokens([])
        if max_tokens is not None and n_bare > max_tokens:
            raise PromptError(f"the prompt has {n_bare} tokens without any example, more than {max_tokens}")
        if callable(prompts.examples):
            self._choose = prompts.examples
        else:
            self.examples = self._fitting(prompts.examples, self._limit(0))
            if len(self.examples) < len(prompts.examples):
                fitted = prompts.showing(self.examples)
                self._encoder = PromptEncoder(fitted, vocabulary, chat_template, answer_ids)
        self.prefix_ids = self._encoder.prefix_ids
        self.room = context_length - len(self.prefix_ids)
        n_shown = n_bare if self.examples is None else self._encoder.n_tokens(self.examples)
        self.room_for_text = context_length - n_shown
        if context_length - n_bare < _LEAST_ROOM:
            raise ModelError(
                f"the prompt's {n_bare} tokens leave no room for a sentence in the model's context of "
                f"{context_length}: shorten the prompt or raise --context"
            )

    def ids(self, text: str, question: str | None = None) -> list[int]:
        """What follows the prefix for a text.

        question: the sentence that the text is a window of, which its examples are chosen for.
        """
        if self._choose is None:
            return self._encoder.ids(text)
        limit = self._limit(len(self._encoder.vocabulary.encode(text)))
        chosen = self._choose(text if question is None else question)
        return self._encoder.ids(text, self._fitting(chosen, limit, best_last=True))

    def _limit(self, n_text: int) -> int:
        """The most tokens that a prompt may have, its question of n_text tokens not counted."""
        reserved = max(min(_USUAL_ROOM, self._context_length // 4), _ANSWER * n_text + _LEAST_ROOM)
        limit = self._context_length - reserved
        return limit if self._max_tokens is None else min(limit, self._max_tokens)

    def _fitting(
        self, examples: Sequence[Sentence], limit: int, *, best_last: bool = False
    ) -> tuple[Sentence, ...]:
        if not self._encoder.shows_examples:
            kept: tuple[Sentence, ...] = ()
        else:
            kept = most_that_fit(examples, lambda e: self._encoder.n_tokens(e) <= limit, best_last=best_last)
        if len(kept) < len(examples) and self._notify is not None:
            self._notify(self._message(len(kept), len(examples), limit))
            self._notify = None
        return kept

    def _message(self, n_kept: int, n_wanted: int, limit: int) -> str:
        if not self._encoder.shows_examples:
            return "the model's chat template shows the question alone: no examples are given"
        if self._choose is None:
            return f"{n_kept} of {n_wanted} examples are given: more do not fit {limit} tokens of prompt"
        return (
            f"a sentence gets {n_kept} of {n_wanted} examples, as more do not fit {limit} tokens of prompt; "
            "others may get fewer, too"
        )
