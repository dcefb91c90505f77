"""The wording of a prompt: a JSON file, or one of those that ship with the package.

    {"sysprompt": ["Mark the names.", "{tags}", "{types}"], "usrprompt": ["{sentence}"]}

{tags}, {types} and {guide} come from the schema, so that a new schema needs no new prompt.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import PromptError
from ..files import first_misfit, read_text

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
_KNOWN = ("types", "tags", "guide", "sentence")
_BUILT_IN = resources.files("constrained_ner") / "templates" / "prompts"


class PromptFile(BaseModel):
    """The wording: instructions, and what is said for each sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sysprompt: tuple[str, ...]
    usrprompt: tuple[str, ...]

    @classmethod
    def load(cls, path: str | Path) -> PromptFile:
        """Read a prompt file; PromptError says what does not fit."""
        path = Path(path)
        content = read_text(path, PromptError)
        try:
            prompt = cls.model_validate(json.loads(content))
        except json.JSONDecodeError as error:
            raise PromptError(f"{path}: not JSON: {error}") from None
        except ValidationError as error:
            misfit = first_misfit(error, "prompt")
            raise PromptError(f"{path}: {misfit} (sysprompt and usrprompt are lists of lines)") from None
        prompt.check(str(path))
        return prompt

    @classmethod
    def built_in(cls, name: str = "plain") -> PromptFile:
        """A prompt that ships with the package, from `prompts/NAME.json`."""
        return cls.model_validate_json((_BUILT_IN / f"{name}.json").read_text(encoding="utf-8"))

    @classmethod
    def named(cls, name: str) -> PromptFile:
        """A prompt by its name, if it is one that ships with the package, else by its path."""
        names = built_in_prompts()
        if name in names:
            return cls.built_in(name)
        if not Path(name).exists():
            raise PromptError(f"{name}: no such prompt: neither a file nor one of {', '.join(names)}")
        return cls.load(name)

    @property
    def name(self) -> str:
        """Of the shipped prompt with this wording; "custom" for any other."""
        return next((name for name in built_in_prompts() if self.built_in(name) == self), "custom")

    def check(self, place: str) -> None:
        """PromptError for a placeholder that means nothing, or a user prompt without the sentence.

        Capitals in braces are text, unless it is a placeholder that they spell.
        """
        for name in _PLACEHOLDER.findall("\n".join((*self.sysprompt, *self.usrprompt))):
            if name not in _KNOWN and (name.islower() or name.lower() in _KNOWN):
                known = ", ".join(f"{{{name}}}" for name in _KNOWN)
                raise PromptError(f"{place}: unknown placeholder {{{name}}}; known are {known}")
        if "{sentence}" in "\n".join(self.sysprompt):
            raise PromptError(f"{place}: sysprompt has {{sentence}}, which belongs into usrprompt")
        if "{sentence}" not in "\n".join(self.usrprompt):
            raise PromptError(f"{place}: usrprompt has no {{sentence}}")

    def hash(self) -> str:
        """SHA-256 over the content, for records and adapters."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def built_in_prompts() -> tuple[str, ...]:
    """The names of the prompts that ship with the package."""
    return tuple(sorted(file.name.removesuffix(".json") for file in _BUILT_IN.iterdir()))


def fill(lines: Iterable[str], values: Mapping[str, str]) -> str:
    """Put the values in for the placeholders, in one pass: a sentence that holds "{types}" keeps it.

    A line that is a placeholder alone goes where its value is empty (a schema without a guide).
    """
    filled = ((line, _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), line)) for line in lines)
    return "\n".join(text for line, text in filled if text or not _PLACEHOLDER.fullmatch(line))
