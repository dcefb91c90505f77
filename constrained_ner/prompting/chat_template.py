"""A model's chat template, rendered around numbered slots instead of texts; every quirk of templates.

A template never sees the texts: it gets a slot for each message, and what it writes itself comes back cut at
the slots. So the template's text can be tokenised with control tokens on, and the messages, which go in
between, with control tokens off.

Thinking is turned off, because the answer has to begin at once. In this order:

1. A template with a switch gets `enable_thinking=False` (and `thinking=False`, the other common name).
2. If the template's last words open a thought (`<think>`), the thought is closed, empty.
3. If it writes more before past answers than before the one asked for, the rest is written too
   (`<|channel|>final<|message|>`).
4. A template without a switch that mentions `</think>` gets an empty thought.

Some templates refuse a system message, others drop it without a word, or write it twice. A probe shows it:
then the instructions go into the first user turn. A template that writes only the question is meant to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from functools import cache
from typing import Any

from ..errors import MissingExtraError, PromptError
from ..vocabulary import Vocabulary

PLAIN_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
"""For models without a chat template: the messages, each followed by a line break."""

EMPTY_THOUGHT = "<think>\n\n</think>\n\n"

_SLOT = re.compile("\ue000([0-9]+)\ue001")  # private-use characters: no template writes them
_N_KEPT = 256  # conversations, by their roles, whose rendering is kept
_SWITCH = re.compile(r"\b(enable_)?thinking\b")
_OPEN_THOUGHT = re.compile(r"<think>\s*\Z")
_DAY = date(2024, 7, 26)  # what Llama 3.2 writes unless it is given a date


class ChatTemplate:
    """The chat template of the model with this vocabulary.

    source: Jinja; None for `PLAIN_TEMPLATE`. Raises PromptError if it is not valid Jinja.
    misplaces_system: whether it drops or repeats a system message, so that this one is never given to it.
    """

    def __init__(self, source: str | None, vocabulary: Vocabulary) -> None:
        source = source or PLAIN_TEMPLATE
        self._variables: dict[str, Any] = {
            "bos_token": _spelling(vocabulary, vocabulary.bos_id),
            "eos_token": _spelling(vocabulary, vocabulary.eos_id),
            "add_generation_prompt": True,
            "enable_thinking": False,
            "thinking": False,
            "tools": None,
            "documents": None,
        }
        self._has_switch = bool(_SWITCH.search(source))
        self._mentions_thoughts = "</think>" in source
        environment, self._error = _environment()
        try:
            self._template = environment.from_string(source)
        except self._error as error:
            raise PromptError(f"the chat template is not valid Jinja: {error}") from None
        self._rendered_roles: dict[tuple[str, ...], tuple[str | int, ...]] = {}
        self.misplaces_system = self._misplaces_system()

    def render(self, roles: Sequence[str]) -> tuple[str | int, ...]:
        """The template's own texts, and between them the numbers of the messages that go there.

        The last message is the user's; the last text opens the answer. Texts and numbers alternate. Raises
        PromptError if the template refuses the messages.
        Example: ["user"] -> ("<|user|>\\n", 0, "<|end|>\\n<|assistant|>\\n")
        """
        key = tuple(roles)
        found = self._rendered_roles.get(key)
        if found is None:
            if len(self._rendered_roles) >= _N_KEPT:
                self._rendered_roles.clear()
            found = self._rendered_roles[key] = self._render(key)
        return found

    def _misplaces_system(self) -> bool:
        """Whether a whole conversation is shown, but for its system message, which is not there just once."""
        probe = [_slot(n, role) for n, role in enumerate(("system", "user", "assistant", "user"))]
        try:
            shown = _numbers(self._rendered(probe))
        except self._error:
            return False  # it refuses some of it, which will be seen
        return all(shown.count(n) == 1 for n in (1, 2, 3)) and shown.count(0) != 1

    def _render(self, roles: tuple[str, ...]) -> tuple[str | int, ...]:
        *pieces, opening = self._pieces(roles)
        return (*pieces, self._without_thinking(str(opening), roles))

    def _without_thinking(self, opening: str, roles: tuple[str, ...]) -> str:
        if _OPEN_THOUGHT.search(opening):
            return _OPEN_THOUGHT.sub(EMPTY_THOUGHT, opening)
        past = self._opening_of_the_past(roles)
        if past.startswith(opening) and past[len(opening) :].strip():
            return past
        if self._mentions_thoughts and not self._has_switch and "</think>" not in opening:
            return opening + EMPTY_THOUGHT
        return opening

    def _opening_of_the_past(self, roles: tuple[str, ...]) -> str:
        """What the template writes before an answer of the past."""
        n_messages = len(roles)
        pieces = self._pieces((*roles, "assistant", "user"))
        if n_messages not in pieces or n_messages - 1 not in pieces:
            return ""  # it writes only the last message
        at = pieces.index(n_messages)
        return str(pieces[at - 1]) if pieces[at - 2 : at - 1] == [n_messages - 1] else ""

    def _pieces(self, roles: Sequence[str]) -> list[str | int]:
        slots = [_slot(n, role) for n, role in enumerate(roles)]
        ways = [slots]
        if roles[0] == "system" and len(slots) > 1:
            merged = {"role": "user", "content": f"{slots[0]['content']}\n\n{slots[1]['content']}"}
            in_user_turn = [merged, *slots[2:]]
            ways = [in_user_turn] if self.misplaces_system else [slots, in_user_turn]
        for way in ways:
            try:
                rendered = self._rendered(way)
                break
            except self._error as error:
                refusal = error
        else:
            raise PromptError(f"the chat template refuses the messages: {refusal}") from None
        pieces = _SLOT.split(rendered)
        return [int(piece) if n % 2 else piece for n, piece in enumerate(pieces)]

    def _rendered(self, messages: Sequence[dict[str, str]]) -> str:
        return str(self._template.render(messages=messages, **self._variables))


def _slot(number: int, role: str) -> dict[str, str]:
    return {"role": role, "content": f"\ue000{number}\ue001"}


def _numbers(rendered: str) -> list[int]:
    return [int(number) for number in _SLOT.findall(rendered)]


def _spelling(vocabulary: Vocabulary, token_id: int | None) -> str:
    return "" if token_id is None else vocabulary.token_bytes[token_id].decode(errors="replace")


@cache
def _environment() -> tuple[Any, type[Exception]]:
    """Jinja as transformers sets it up, and its error; with a fixed date, so that prompts do not change."""
    try:
        import jinja2
        import jinja2.ext
        import jinja2.sandbox
    except ImportError:
        raise MissingExtraError("jinja2") from None

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    class Generation(jinja2.ext.Extension):
        """`{% generation %}` marks answers for training and writes nothing."""

        tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation]
    )
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = _DAY.strftime
    return environment, jinja2.TemplateError
