"""What an adapter was trained for: `constrained-ner.json` beside its weights.

An adapter has learnt one schema, one prompt, one chat template and the weights of one base model. With
others it would go on giving answers, only worse ones, so that is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import InputError, ModelError
from .files import first_misfit, reason, write_atomically
from .prompting.wording import PromptFile
from .schema import Schema

CARD_FILE = "constrained-ner.json"


class BaseModelIdentity(BaseModel):
    """What tells the base model's weights from others: a folder's hash, or a hub's commit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str | None = None
    commit: str | None = None

    @classmethod
    def parse(cls, content: str, place: str | Path) -> BaseModelIdentity:
        """From its JSON, which an exported GGUF file has in its metadata. Raises InputError."""
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise InputError(f"{place}: not a model's identity: {first_misfit(error, 'model')}") from None


class AdapterCard(BaseModel):
    """What the folder of an adapter says of its training.

    schema, prompt: in full, so that the adapter brings its own.
    loss: which one it was trained with; None where that is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    base_model: BaseModelIdentity
    entity_schema: Schema  # `schema` is a method of BaseModel
    schema_sha256: str
    prompt: PromptFile
    prompt_sha256: str
    chat_template_sha256: str
    loss: str | None = None

    @classmethod
    def of(
        cls,
        model: Mapping[str, str],
        schema: Schema,
        prompt: PromptFile,
        chat_template: str | None,
        *,
        loss: str | None = None,
    ) -> AdapterCard:
        """model: a back end's description of the base model."""
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
        )

    @property
    def writes_freely(self) -> bool:
        """Whether it has learnt to copy without a constraint, which the loss over legal tokens leaves out."""
        return self.loss != "legal"

    @classmethod
    def load(cls, folder: str | Path) -> AdapterCard | None:
        """The card in an adapter's folder; None where there is none: an adapter made elsewhere."""
        path = Path(folder) / CARD_FILE
        if not path.is_file():
            return None
        try:
            return cls.parse(path.read_bytes(), path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {reason(error)}") from None

    @classmethod
    def parse(cls, content: str | bytes, place: str | Path) -> AdapterCard:
        """The card from its JSON, which a GGUF file has in its metadata. Raises InputError."""
        try:
            card = cls.model_validate_json(content)
        except ValidationError as error:
            raise InputError(f"{place}: not an adapter's card: {first_misfit(error, 'card')}") from None
        if (card.entity_schema.hash(), card.prompt.hash()) != (card.schema_sha256, card.prompt_sha256):
            raise InputError(f"{place}: its schema or prompt was changed by hand: the hashes do not fit")
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
    ) -> None:
        """ModelError that names what differs from the training, unless nothing does.

        model: the back end's description of what the adapter is to be used with; None where that cannot be
            told, as for a GGUF file made elsewhere.
        """
        _refuse(
            adapter,
            *self._schema_differences(schema),
            *_difference("prompt", self.prompt_sha256, prompt.hash()),
            *_difference("chat template", self.chat_template_sha256, _hash(chat_template)),
            *(self._base_differences(model) if model is not None else ()),
        )

    def require_base(self, adapter: str | Path, model: Mapping[str, str]) -> None:
        """ModelError unless the model is the one that it was trained on."""
        _refuse(adapter, *self._base_differences(model))

    def _schema_differences(self, schema: Schema) -> Iterator[str]:
        ours, theirs = self.entity_schema.type_names, schema.type_names
        if set(ours) != set(theirs):
            yield f"the schema's types were {', '.join(ours)}, and are {', '.join(theirs)}"
        else:
            yield from _difference("schema", self.schema_sha256, schema.hash())

    def _base_differences(self, model: Mapping[str, str]) -> Iterator[str]:
        base = self.base_model
        commit, sha256 = model.get("commit"), model.get("sha256")
        if commit and base.commit:
            yield from _difference(f"base model ({base.name})", base.commit, commit)
        elif sha256 and base.sha256:
            yield from _difference(f"base model ({base.name})", base.sha256, sha256)
        else:  # a folder here, a hub id there
            yield f"the base model was {base.name}, and {model['name']} cannot be compared with it"


def _refuse(adapter: str | Path, *differences: str) -> None:
    if differences:
        raise ModelError(
            f"{adapter}: trained otherwise: {'; '.join(differences)} (--force uses it all the same)"
        )


def _difference(what: str, ours: str, theirs: str) -> Iterator[str]:
    if ours != theirs:
        yield f"the {what} was {ours[:12]}, and is {theirs[:12]}"


def _hash(chat_template: str | None) -> str:
    return hashlib.sha256((chat_template or "").encode()).hexdigest()
