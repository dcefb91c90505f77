"""The wording of a prompt: a JSON file, the user's or one that ships with the package.

    {"sysprompt": ["Mark the names.", "{tags}", "{types}"], "usrprompt": ["{sentence}"]}

{tags}, {types} and {guide} are filled in from the schema, so a new schema needs no new prompt.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ..constraint.answer_form import AnswerName
from ..errors import PromptError
from ..files import plain_json, read_text
from ..misfits import first_misfit, read_json

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
_SHAPE = (
    'a prompt is two lists of lines: {"sysprompt": ["Mark the names.", "{tags}", "{types}"], '
    '"usrprompt": ["{sentence}"]}'
)
_KNOWN = ("types", "tags", "guide", "sentence")
USUAL_PROMPTS: Mapping[AnswerName, str] = {"tags": "plain", "list": "list"}
"""The wording of each form of the answer, unless another is asked for."""

_BUILT_IN = resources.files("constrained_ner") / "templates" / "prompts"


class PromptFile(BaseModel):
    """The instructions, and the request for each sentence; both as lists of lines."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sysprompt: tuple[str, ...]
    usrprompt: tuple[str, ...]

    @classmethod
    def load(cls, path: str | Path) -> PromptFile:
        """Read a prompt file. Raises PromptError."""
        path = Path(path)
        text = read_text(path, PromptError)
        content = read_json(path, text, lambda message: PromptError(f"{message}\n{_SHAPE}"))
        try:
            prompt = cls.model_validate(content)
        except ValidationError as error:
            raise PromptError(f"{path}: {first_misfit(error, 'prompt')}\n{_SHAPE}") from None
        prompt.check(str(path))
        return prompt

    @classmethod
    def built_in(cls, name: str = "plain") -> PromptFile:
        """A prompt that ships with the package: `prompts/NAME.json`."""
        return cls.model_validate_json((_BUILT_IN / f"{name}.json").read_text(encoding="utf-8"))

    @classmethod
    def named(cls, name: str) -> PromptFile:
        """A prompt by name if it ships with the package, otherwise by path. Raises PromptError."""
        names = built_in_prompts()
        if name in names:
            return cls.built_in(name)
        if not Path(name).exists():
            raise PromptError(f"{name}: no such prompt: neither a file nor one of {', '.join(names)}")
        return cls.load(name)

    @property
    def name(self) -> str:
        """The name of the shipped prompt with this wording; "custom" for any other."""
        return next((name for name in built_in_prompts() if self.built_in(name) == self), "custom")

    def check(self, place: str) -> None:
        """Raise PromptError for an unknown placeholder, or if {sentence} is missing or misplaced.

        A word in braces that has capitals is text, unless it spells a placeholder ({TYPES}).
        place: named in the error; usually the file.
        """
        for name in _PLACEHOLDER.findall("\n".join((*self.sysprompt, *self.usrprompt))):
            if name not in _KNOWN and (name.islower() or name.lower() in _KNOWN):
                known = ", ".join(f"{{{name}}}" for name in _KNOWN)
                raise PromptError(f"{place}: unknown placeholder {{{name}}}; use one of {known}")
        if "{sentence}" in "\n".join(self.sysprompt):
            raise PromptError(f"{place}: {{sentence}} belongs in usrprompt, not in sysprompt")
        if "{sentence}" not in "\n".join(self.usrprompt):
            raise PromptError(f"{place}: usrprompt has no {{sentence}}: add it where the sentence goes")

    def hash(self) -> str:
        """SHA-256 of the content, for run records and adapters; the same in every version."""
        content = {"sysprompt": self.sysprompt, "usrprompt": self.usrprompt}
        return hashlib.sha256(plain_json(content).encode()).hexdigest()


def built_in_prompts() -> tuple[str, ...]:
    """The names of the prompts that ship with the package."""
    return tuple(sorted(file.name.removesuffix(".json") for file in _BUILT_IN.iterdir()))


def fill(lines: Iterable[str], values: Mapping[str, str]) -> str:
    """Replace the placeholders by their values, in one pass: a sentence that contains "{types}" keeps it.

    A line that is only a placeholder is dropped if its value is empty (a schema without a guide).
    """
    filled = ((line, _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), line)) for line in lines)
    return "\n".join(text for line, text in filled if text or not _PLACEHOLDER.fullmatch(line))
