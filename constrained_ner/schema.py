"""What to look for: the entity types, with the words that describe them. The single source.

The prompt's list of types, the grammar's tags, the training targets and the parser all come from here.
A user's own schema is a JSON or YAML file in the same shape:

    name: chemistry
    types:
      - name: chemical
        description: any named chemical substance
        examples: [ethanol, benzo(a)pyrene]
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .errors import MissingExtraError, SchemaError


class EntityType(BaseModel):
    """A class of names. The name is also the tag, so it is an identifier: letters, digits, `_`, `-`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=64)]
    description: str = ""
    examples: tuple[str, ...] = ()


class Schema(BaseModel):
    """A named list of entity types with distinct names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    types: Annotated[tuple[EntityType, ...], Field(min_length=1)]

    @field_validator("types")
    @classmethod
    def _distinct(cls, types: tuple[EntityType, ...]) -> tuple[EntityType, ...]:
        names = [t.name for t in types]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"entity type {twice[0]!r} is defined twice")
        return types

    @property
    def type_names(self) -> tuple[str, ...]:
        return tuple(t.name for t in self.types)

    def hash(self) -> str:
        """SHA-256 over the content, the same on every machine, for records and adapters."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @classmethod
    def load(cls, path: str | Path) -> Schema:
        """Read a schema from a JSON or YAML file; SchemaError says what does not fit."""
        path = Path(path)
        try:
            content = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SchemaError(f"{path}: cannot be read: {error}") from None
        try:
            return cls.model_validate(_parse(path, content))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "schema"
            raise SchemaError(f"{path}: {place}: {first['msg']} (got {first['input']!r:.80})") from None


def _parse(path: Path, content: str) -> Any:
    """The content as plain data: YAML by its file name, everything else as JSON."""
    if path.suffix.lower() in {".yaml", ".yml"}:
        try:
            import yaml
        except ImportError:
            raise MissingExtraError("PyYAML", "yaml") from None
        try:
            return yaml.safe_load(content)
        except yaml.YAMLError as error:
            raise SchemaError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        raise SchemaError(f"{path}: not JSON: {error}") from None


DDI = Schema(
    name="ddi",
    types=(
        EntityType(
            name="drug",
            description="a medicine for human use by its generic name",
            examples=("aspirin", "warfarin", "ciprofloxacin"),
        ),
        EntityType(
            name="brand",
            description="a medicine by the trade name that a company gave it",
            examples=("ASPIRIN BAYER", "Lipitor", "Zantac"),
        ),
        EntityType(
            name="group",
            description="a class of medicines, by use, by effect or by chemistry",
            examples=("beta-blockers", "NSAIDs", "oral contraceptives"),
        ),
        EntityType(
            name="drug_n",
            description="an active substance that is not approved for human use: a toxin, a pesticide, "
            "a compound under study, a metabolite",
            examples=("MPTP", "picrotoxin", "ibogaine"),
        ),
    ),
)
"""The four types of the DDI-2013 corpus (Herrero-Zazo et al. 2013)."""
