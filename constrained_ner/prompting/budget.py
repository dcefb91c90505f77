"""The prompt of one model: the wording, and as many examples as fit its context.

Examples are dropped; the text of a sentence never is. If a sentence does not fit, the annotator cuts it into
windows and asks about each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from ..data import Sentence
from ..errors import ModelError, PromptError, UnwritableError
from ..vocabulary import Vocabulary
from .encoder import PromptEncoder
from .messages import MOST_BRIEF, Chooser, Prompts

_LEAST_ROOM = 32  # tokens for a sentence and its answer; longer ones are split
_USUAL_ROOM = 1024  # tokens that are kept free for them, if the context has at least four times as many
_ENOUGH_ROOM = 256  # tokens; with less, the types are described more briefly
_BRIEFLY = "the types are described more briefly, so that the prompt fits the context"
_ANSWER = 3  # a sentence and its answer, with tags, rarely have more than three times the sentence's tokens


def shortened_types(
    prompts: Prompts, n_tokens: Callable[[str], int], context_length: int, notify: Callable[[str], None]
) -> Prompts:
    """The prompts with the types described as briefly as the context of a server's model asks for.

    n_tokens: an estimate of a text's tokens. notify: called if something is left out.
    """
    fitting = prompts
    while _bare_tokens(fitting, n_tokens) > context_length - _least_room(context_length):
        if fitting.brevity == MOST_BRIEF:
            break
        fitting = fitting.briefer()
    if _bare_tokens(fitting, n_tokens) < _bare_tokens(prompts, n_tokens):
        notify(_BRIEFLY)
    return fitting


def _bare_tokens(prompts: Prompts, n_tokens: Callable[[str], int]) -> int:
    """About as many tokens as a prompt has without examples and sentence."""
    return sum(n_tokens(message.content) for message in prompts.prepare_messages("", examples=()))


def _least_room(context_length: int) -> int:
    """The tokens to keep free for a sentence and its answer by shortening the description of the types."""
    return max(_LEAST_ROOM, min(_ENOUGH_ROOM, context_length // 4))


class FittedPrompt:
    """The ids that ask a model for the names in a text.

    prompts: with the examples that are wanted. The least useful of those that do not fit are left out; this
        is reported once, through `notify`.
    context_length: of the model. A quarter of it, but no more than 1024 tokens, is kept free for the sentence
        and its answer.
    max_tokens: upper limit for instructions and examples, without the question's text.
    prefix_ids: what all prompts begin with. room: tokens left after it. room_for_text: tokens that the text
        of a question and its answer may have together.
    shows_instructions: whether the model sees any of them.
    examples: those that every question gets; None if each question gets its own.

    Raises ModelError if even the instructions leave no room, PromptError if they exceed max_tokens, and for
    examples that the template does not show.
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
        self._context_length = context_length
        self._max_tokens = max_tokens
        self._vocabulary = vocabulary
        self._notify: Callable[[str], None] | None = notify
        if not callable(prompts.examples):
            prompts = prompts.showing(self._writable(prompts.examples, notify))
        self._choose: Chooser | None = None
        self.examples: tuple[Sentence, ...] | None = None
        wants_examples = callable(prompts.examples) or bool(prompts.examples)
        most = min(context_length - _least_room(context_length), max_tokens or context_length)
        whole = self._encode(prompts, chat_template, answer_ids)
        n_bare = whole.n_tokens([])
        self._encoder = whole
        self.shows_instructions = whole.shows_instructions
        while n_bare > most and prompts.brevity < MOST_BRIEF:
            prompts = prompts.briefer()
            self._encoder = self._encode(prompts, chat_template, answer_ids)
            n_bare = self._encoder.n_tokens([])
        if whole.misplaces_system and prompts.instructions == "once":
            notify(
                "the model's chat template drops or repeats the system message: the instructions go into the "
                "first user message instead"
            )
        if max_tokens is not None and n_bare > max_tokens:
            raise PromptError(
                f"the prompt has {n_bare} tokens without any example, more than {max_tokens}: shorten it or "
                "raise --max-prompt-tokens"
            )
        if wants_examples and not whole.shows_examples:
            raise PromptError(
                "the model's chat template shows it nothing but the sentence, so examples do not reach it: "
                "leave out --shots, or use an instruct model (--model)"
            )
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
        if n_bare < whole.n_tokens([]):
            notify(_BRIEFLY)

    def ids(self, text: str, question: str | None = None) -> list[int]:
        """The ids that follow the prefix for a text.

        question: the sentence that the text is a window of; the examples are chosen for the whole sentence.
        """
        if self._choose is None:
            return self._encoder.ids(text)
        limit = self._limit(len(self._encoder.vocabulary.encode(text)))
        chosen = self._writable(self._choose(text if question is None else question))
        return self._encoder.ids(text, self._fitting(chosen, limit, best_last=True))

    def _encode(
        self, prompts: Prompts, chat_template: str | None, answer_ids: Callable[[Sentence], list[int]]
    ) -> PromptEncoder:
        try:
            return PromptEncoder(prompts, self._vocabulary, chat_template, answer_ids)
        except UnwritableError as error:
            raise PromptError(f"the prompt or the schema: {error}") from None

    def _writable(
        self, examples: Sequence[Sentence], notify: Callable[[str], None] | None = None
    ) -> Sequence[Sentence]:
        """The examples without those that have a character which the vocabulary lacks."""
        kept: list[Sentence] = []
        for example in examples:
            try:
                self._vocabulary.encode(example.text)
                kept.append(example)
            except UnwritableError as error:
                if notify is not None:
                    notify(f"example {example.id} is not shown: {error}")
        return kept

    def _limit(self, n_text: int) -> int:
        """The most tokens that a prompt may have, without its question of n_text tokens."""
        reserved = max(min(_USUAL_ROOM, self._context_length // 4), _ANSWER * n_text + _LEAST_ROOM)
        limit = self._context_length - reserved
        return limit if self._max_tokens is None else min(limit, self._max_tokens)

    def _fitting(
        self, examples: Sequence[Sentence], limit: int, *, best_last: bool = False
    ) -> tuple[Sentence, ...]:
        kept = _most_that_fit(examples, lambda e: self._encoder.n_tokens(e) <= limit, best_last=best_last)
        if len(kept) < len(examples) and self._notify is not None:
            self._notify(self._message(len(kept), len(examples), limit))
            self._notify = None
        return kept

    def _message(self, n_kept: int, n_wanted: int, limit: int) -> str:
        if self._choose is None:
            return f"only {n_kept} of {n_wanted} examples fit the prompt, which is limited to {limit} tokens"
        return (
            f"only {n_kept} of {n_wanted} examples fit the prompt of a sentence, which is limited to {limit} "
            "tokens; other sentences may get fewer, too"
        )


def _most_that_fit(
    examples: Sequence[Sentence], fits: Callable[[Sequence[Sentence]], bool], *, best_last: bool
) -> tuple[Sentence, ...]:
    """The examples, in order, without as many of the least useful as it takes for the rest to fit.

    The last ones go first (with best_last, the first ones). But an example that is the only one to show some
    type is dropped only when there are no others.
    """
    kept = list(reversed(examples)) if best_last else list(examples)
    while kept and not fits(kept[::-1] if best_last else kept):
        del kept[_least_useful(kept)]
    return tuple(kept[::-1] if best_last else kept)


def _least_useful(examples: Sequence[Sentence]) -> int:
    types = [{mention.type for mention in example.mentions} for example in examples]
    shown = Counter(name for names in types for name in names)
    spare = (at for at in reversed(range(len(examples))) if all(shown[name] > 1 for name in types[at]))
    return next(spare, len(examples) - 1)
