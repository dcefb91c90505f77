"""What an adapter was trained for, and whether it fits this base model, schema and prompt.

An adapter has learnt one schema, one prompt, one chat template and the weights of one base model. With any
other it would still give answers, only worse ones, so it is refused unless the user insists. What it was
trained for is in its card, `constrained-ner.json` beside the weights, or in the metadata of a GGUF file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from .constraint.answer_form import AnswerName
from .errors import InputError, ModelError
from .files import reason, write_atomically
from .misfits import first_misfit
from .prompting.wording import PromptFile
from .schema import Schema

CARD_FILE = "constrained-ner.json"


class BaseModelIdentity(BaseModel):
    """Identifies the weights of a base model: by the hash of a folder, or by a commit on the hub."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str | None = None
    commit: str | None = None

    @classmethod
    def parse(cls, content: str, place: str | Path) -> BaseModelIdentity:
        """Parse the JSON that an exported GGUF file has in its metadata. Raises InputError."""
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise InputError(
                f"{place}: invalid identity of the base model: {first_misfit(error, 'model')}"
            ) from None


class AdapterCard(BaseModel):
    """What an adapter was trained for.

    entity_schema, prompt: in full, so that the adapter can be used without naming them again.
    loss: the loss that it was trained with; None if unknown.
    answer, occurrences: the form of its answers (see `constraint.answer_form`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    base_model: BaseModelIdentity
    entity_schema: Schema  # `schema` is a method of BaseModel
    schema_sha256: str
    prompt: PromptFile
    prompt_sha256: str
    chat_template_sha256: str
    loss: str | None = None
    answer: AnswerName = "tags"
    occurrences: bool = False

    @classmethod
    def of(
        cls,
        model: Mapping[str, str],
        schema: Schema,
        prompt: PromptFile,
        chat_template: str | None,
        *,
        loss: str | None = None,
        answer: AnswerName = "tags",
        occurrences: bool = False,
    ) -> AdapterCard:
        """Make the card of a new adapter. model: a back end's description of the base model."""
        return cls(
            base_model=BaseModelIdentity(
                name=model["name"], sha256=model.get("sha256"), commit=model.get("commit")
            ),
            entity_schema=schema,
            schema_sha256=schema.hash(),
            prompt=prompt,
            prompt_sha256=prompt.hash(),
            chat_template_sha256=_hash(chat_template),
            loss=loss,
            answer=answer,
            occurrences=occurrences,
        )

    @property
    def writes_freely(self) -> bool:
        """Whether it has learnt to copy without a constraint. The legal loss does not teach that."""
        return self.loss != "legal"

    @classmethod
    def load(cls, folder: str | Path) -> AdapterCard | None:
        """Read the card in an adapter's folder; None if there is none, as for an adapter made elsewhere."""
        path = Path(folder) / CARD_FILE
        if not path.is_file():
            return None
        try:
            return cls.parse(path.read_bytes(), path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {reason(error)}") from None

    @classmethod
    def parse(cls, content: str | bytes, place: str | Path) -> AdapterCard:
        """Parse a card, from its file or from the metadata of a GGUF file. Raises InputError."""
        try:
            card = cls.model_validate_json(content)
        except ValidationError as error:
            raise InputError(
                f"{place}: not an adapter card that this version can read: {first_misfit(error, 'card')}"
            ) from None
        if (card.entity_schema.hash(), card.prompt.hash()) != (card.schema_sha256, card.prompt_sha256):
            raise InputError(f"{place}: the schema or prompt does not match its hash: it was changed by hand")
        return card

    def save(self, folder: Path) -> None:
        """Write the card into the adapter's folder. Raises OutputError."""
        write_atomically(folder / CARD_FILE, [self.model_dump_json(indent=2), "\n"])

    def require(
        self,
        adapter: str | Path,
        *,
        schema: Schema,
        prompt: PromptFile,
        chat_template: str | None,
        model: Mapping[str, str] | None,
        answer: AnswerName = "tags",
        occurrences: bool = False,
    ) -> None:
        """Raise ModelError, naming every difference, unless the adapter was trained for all this.

        model: the back end's description of the base model; None if unknown, as for some GGUF files.
        """
        _refuse(
            adapter,
            *self._schema_differences(schema),
            *self._form_differences(answer, occurrences),
            *_difference("prompt", (self.prompt.name, self.prompt_sha256), (prompt.name, prompt.hash())),
            *_difference("chat template", ("", self.chat_template_sha256), ("", _hash(chat_template))),
            *(self._base_differences(model) if model is not None else ()),
        )

    def require_base(self, adapter: str | Path, model: Mapping[str, str]) -> None:
        """Raise ModelError unless the adapter was trained on this model."""
        _refuse(adapter, *self._base_differences(model))

    def _schema_differences(self, schema: Schema) -> Iterator[str]:
        trained, now = self.entity_schema.type_names, schema.type_names
        if set(trained) != set(now):
            yield f"trained with the entity types {', '.join(trained)}, this run uses {', '.join(now)}"
        else:
            yield from _difference(
                "schema", (self.entity_schema.name, self.schema_sha256), (schema.name, schema.hash())
            )

    def _form_differences(self, answer: AnswerName, occurrences: bool) -> Iterator[str]:
        trained, now = (self.answer, self.occurrences), (answer, occurrences)
        if trained != now:
            yield f"trained with {_shown_form(*trained)}, this run uses {_shown_form(*now)}"

    def _base_differences(self, model: Mapping[str, str]) -> Iterator[str]:
        base, name = self.base_model, model["name"]
        for trained, now in ((base.commit, model.get("commit")), (base.sha256, model.get("sha256"))):
            if trained and now:
                yield from _difference("base model", (base.name, trained), (name, now))
                return
        # One is a folder, the other a model on the hub.
        yield f"trained with base model {base.name}, which cannot be compared with {name}"


def _refuse(adapter: str | Path, *differences: str) -> None:
    if differences:
        clauses = "; it was ".join(differences)
        raise ModelError(f"{adapter}: the adapter was {clauses}; pass --force to use it anyway")


def _difference(what: str, trained: tuple[str, str], now: tuple[str, str]) -> Iterator[str]:
    """Yield a clause if two hashes differ. trained, now: a name, which may be empty, and the hash."""
    if trained[1] != now[1]:
        yield f"trained with {what} {_shown(*trained)}, this run uses {_shown(*now)}"


def _shown_form(answer: AnswerName, occurrences: bool) -> str:
    return f"--answer {answer}" + (" --occurrences" if occurrences else "")


def _shown(name: str, digest: str) -> str:
    return f"{name} ({digest[:12]})" if name else digest[:12]


def _hash(chat_template: str | None) -> str:
    return hashlib.sha256((chat_template or "").encode()).hexdigest()
