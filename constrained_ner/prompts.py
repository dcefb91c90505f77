"""Prompt file + schema + examples -> messages -> token ids.

A prompt file is JSON with two lists of lines, and may use these placeholders:

    {"sysprompt": ["Mark the names.", "{tags}", "{types}"], "usrprompt": ["{sentence}"]}

The messages become ids through the model's own chat template. The template is rendered around placeholders:
its own text is tokenised with control tokens on, everything that comes from prompt file or corpus with
control tokens off. So `<|eot_id|>` in a sentence is nine ordinary characters, whatever the model.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from .data import Sentence
from .errors import MissingExtraError, PromptError
from .markup import Markup
from .vocabulary import Vocabulary

PLAIN_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
"""For models without a chat template: one message after the other."""

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_KNOWN = ("types", "tags", "sentence")
_SLOT = re.compile("\ue000([0-9]+)\ue001")  # private-use characters: no template writes them


class PromptFile(BaseModel):
    """The wording: instructions, and what is said for each sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sysprompt: tuple[str, ...]
    usrprompt: tuple[str, ...]

    @classmethod
    def load(cls, path: str | Path) -> PromptFile:
        """Read a prompt file; PromptError says what does not fit."""
        path = Path(path)
        try:
            prompt = cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            raise PromptError(f"{path}: cannot be read: {error}") from None
        except json.JSONDecodeError as error:
            raise PromptError(f"{path}: not JSON: {error}") from None
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "prompt"
            raise PromptError(f"{path}: {place}: {first['msg']}") from None
        prompt.check(str(path))
        return prompt

    @classmethod
    def built_in(cls, name: str = "plain") -> PromptFile:
        """A prompt that ships with the package, from `prompts/NAME.json`."""
        source = resources.files(__package__) / "templates" / "prompts" / f"{name}.json"
        return cls.model_validate_json(source.read_text(encoding="utf-8"))

    def check(self, place: str) -> None:
        """PromptError for a placeholder that means nothing, or a user prompt without the sentence."""
        for name in _PLACEHOLDER.findall("\n".join((*self.sysprompt, *self.usrprompt))):
            if name not in _KNOWN:
                known = ", ".join(f"{{{name}}}" for name in _KNOWN)
                raise PromptError(f"{place}: unknown placeholder {{{name}}}; known are {known}")
        if "{sentence}" not in "\n".join(self.usrprompt):
            raise PromptError(f"{place}: usrprompt has no {{sentence}}")

    def hash(self) -> str:
        """SHA-256 over the content, for records and adapters."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `sentence` is set on an assistant's turn: the example whose tagged text it is."""

    role: str
    content: str
    sentence: Sentence | None = None


class Prompts:
    """The messages that ask for the names in a sentence.

    examples: sentences with their mentions, shown before the question as turns of user and assistant.
    """

    def __init__(self, file: PromptFile, markup: Markup, examples: Sequence[Sentence] = ()) -> None:
        self.file = file
        self.markup = markup
        self.examples = tuple(examples)

    def prepare_messages(self, question: str, answer: Sentence | None = None) -> list[Message]:
        """Instructions, examples, the question, and the answer if one is given (for training)."""
        messages = [Message("system", self._fill(self.file.sysprompt, ""))]
        for example in self.examples:
            messages += self._turns(example.text, example)
        return messages + self._turns(question, answer)

    def _turns(self, text: str, answer: Sentence | None) -> list[Message]:
        turns = [Message("user", self._fill(self.file.usrprompt, text))]
        if answer is not None:
            kept, _ = self.markup.expressible(answer)
            turns.append(Message("assistant", self.markup.write(answer.text, kept), answer))
        return turns

    def _fill(self, lines: Sequence[str], sentence: str) -> str:
        markup = self.markup
        values = {
            "tags": "\n".join(f"{markup.open_tag(t)}...{markup.close_tag(t)}" for t in markup.types),
            "types": "\n".join(
                f"{t.name}: {t.description}" + (f" ({', '.join(t.examples)})" if t.examples else "")
                for t in markup.schema.types
            ),
            "sentence": sentence,
        }
        # One pass, so that a sentence that holds "{types}" stays as it is.
        return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), "\n".join(lines))


class PromptEncoder:
    """Messages as token ids for one model.

    chat_template: Jinja source, None for `PLAIN_TEMPLATE`.
    answer_ids: how an example's answer is tokenised (as decoding would have written it).
    prefix_ids: what every prompt begins with: instructions and examples. Computed once by the back end.
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
        self._template = ChatTemplate(chat_template or PLAIN_TEMPLATE, vocabulary)
        messages = prompts.prepare_messages("")
        before, after = self._around_question(messages)
        self.prefix_ids = tuple(before)
        self._tail_ids = tuple(after)

    def ids(self, text: str) -> list[int]:
        """What follows the prefix for one sentence."""
        question = self.prompts.prepare_messages(text)[-1].content
        return [*self.vocabulary.encode(question), *self._tail_ids]

    def _around_question(self, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
        """The ids before the question's own text, and those after it."""
        pieces = self._template.render(messages)
        question = len(messages) - 1
        if pieces.count(question) != 1:
            raise PromptError("the chat template does not write the user's message exactly once")
        at = pieces.index(question)
        before = [i for piece in pieces[:at] for i in self._piece_ids(piece, messages)]
        after = [i for piece in pieces[at + 1 :] for i in self._piece_ids(piece, messages)]
        bos = self.vocabulary.bos_id
        if bos is not None and before[:1] != [bos]:
            before.insert(0, bos)
        return before, after

    def _piece_ids(self, piece: str | int, messages: Sequence[Message]) -> list[int]:
        if isinstance(piece, str):
            return self.vocabulary.encode_template(piece) if piece else []
        message = messages[piece]
        if message.sentence is not None:
            return self._answer_ids(message.sentence)
        return self.vocabulary.encode(message.content)


class ChatTemplate:
    """A model's chat template, rendered around numbered slots instead of texts."""

    def __init__(self, source: str, vocabulary: Vocabulary) -> None:
        try:
            import jinja2
            import jinja2.sandbox
        except ImportError:
            raise MissingExtraError("jinja2", "llamacpp") from None

        def raise_exception(message: str) -> None:
            raise jinja2.TemplateError(message)

        # As transformers renders, less strftime_now: a prompt must not depend on the day.
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = raise_exception
        self._error = jinja2.TemplateError
        bos = vocabulary.bos_id
        self._variables: dict[str, Any] = {
            "bos_token": vocabulary.decode([bos]).decode(errors="replace") if bos is not None else "",
            "eos_token": "",
            "add_generation_prompt": True,
            "enable_thinking": False,
        }
        try:
            self._template = environment.from_string(source)
        except self._error as error:
            raise PromptError(f"the chat template is not valid Jinja: {error}") from None

    def render(self, messages: Sequence[Message]) -> list[str | int]:
        """The template's own texts, and between them the numbers of the messages that stand there."""
        slots = [{"role": m.role, "content": f"\ue000{n}\ue001"} for n, m in enumerate(messages)]
        try:
            rendered = self._render(slots)
        except self._error:
            # Some templates know no system role: the instructions go into the first user turn.
            if slots[0]["role"] != "system" or len(slots) < 2:
                raise PromptError("the chat template refuses the messages") from None
            merged = {"role": "user", "content": f"{slots[0]['content']}\n\n{slots[1]['content']}"}
            try:
                rendered = self._render([merged, *slots[2:]])
            except self._error as error:
                raise PromptError(f"the chat template refuses the messages: {error}") from None
        pieces = _SLOT.split(rendered)
        return [int(piece) if n % 2 else piece for n, piece in enumerate(pieces)]

    def _render(self, messages: Sequence[dict[str, str]]) -> str:
        return str(self._template.render(messages=messages, **self._variables))
