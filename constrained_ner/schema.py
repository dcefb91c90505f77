"""What to look for: the entity types and the words that describe them, in one place.

The prompt's list of types, the grammar's tags, the training targets and the parser are all made from it.
A user's own schema is a JSON or YAML file of this form:

    name: chemistry
    types:
      - name: chemical
        description: any named chemical substance
        examples: [ethanol, benzo(a)pyrene]
      - name: Dose/Strength          # as the corpus calls it
        tag: dose                    # what the model writes; by default made from the name: Dose_Strength
    guide:
      - Mixtures are not marked.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import MissingExtraError, SchemaError
from .files import plain_json, read_text
from .misfits import first_misfit, is_wrong_shape, read_json

_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_SHAPE = (
    'a schema looks like this: {"name": "chemistry", "types": '
    '[{"name": "chemical", "description": "any named chemical substance"}]}'
)


class EntityType(BaseModel):
    """A class of names.

    Example: `EntityType(name="Adverse Drug Event").tag -> "Adverse_Drug_Event"`

    Attributes:
        name: what the corpus calls it and what mentions carry; any text in one line without `|`, which
            separates the columns of the output.
        tag: what the model writes for it: letters, digits, `_`, `-`. By default it is made from the name.
        description: what it is, in words for the model.
        examples: names of this type, for the model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    tag: str = ""
    description: str = ""
    examples: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _with_tag(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("name"), str) or data.get("tag"):
            return data
        return {**data, "tag": _tag_from(data["name"])}

    @field_validator("name")
    @classmethod
    def _one_line(cls, name: str) -> str:
        if not name or name != name.strip() or "|" in name or not name.isprintable() or len(name) > 64:
            raise ValueError(
                "a type's name has 1 to 64 printable characters, no '|', and no blank at either end"
            )
        return name

    @field_validator("tag")
    @classmethod
    def _identifier(cls, tag: str) -> str:
        if not _TAG.fullmatch(tag):
            raise ValueError("a tag is a letter, then up to 63 letters, digits, '_' and '-'")
        return tag


class Schema(BaseModel):
    """A named list of entity types with distinct names and distinct tags.

    Attributes:
        name: what the schema is called.
        types: in the order in which prompts list them.
        guide: rules for telling the types apart and for what not to mark, for prompts that show them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    types: Annotated[tuple[EntityType, ...], Field(min_length=1)]
    guide: tuple[str, ...] = ()

    @field_validator("types")
    @classmethod
    def _distinct(cls, types: tuple[EntityType, ...]) -> tuple[EntityType, ...]:
        names = [t.name for t in types]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"entity type {twice[0]!r} is defined twice")
        by_tag: dict[str, str] = {}
        for t in types:
            if t.tag in by_tag:
                raise ValueError(
                    f"entity types {by_tag[t.tag]!r} and {t.name!r} have the same tag {t.tag!r}: give one of "
                    "them another with 'tag'"
                )
            by_tag[t.tag] = t.name
        return types

    @property
    def type_names(self) -> tuple[str, ...]:
        return tuple(t.name for t in self.types)

    def hash(self) -> str:
        """SHA-256 of what the model is told, for records and adapters.

        The same on every machine and in every version: what a later version adds to this class counts only
        where it is used, so the hash of an old schema stays.
        """
        types = [
            {"name": t.name, "description": t.description, "examples": t.examples}
            | ({"tag": t.tag} if t.tag != t.name else {})
            for t in self.types
        ]
        content = {"name": self.name, "types": types, "guide": self.guide}
        return hashlib.sha256(plain_json(content).encode()).hexdigest()

    @classmethod
    def load(cls, path: str | Path) -> Schema:
        """Read a schema from a JSON or YAML file. Raises SchemaError saying what is wrong with it."""
        path = Path(path)
        content = _parse(path, read_text(path, SchemaError))
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            hint = f"\n{_SHAPE}" if is_wrong_shape(error) else ""
            raise SchemaError(f"{path}: {first_misfit(error, 'schema')}{hint}") from None


def _tag_from(name: str) -> str:
    """Example: "Dose/Strength" -> "Dose_Strength". Raises ValueError if nothing of the name can be kept."""
    if _TAG.fullmatch(name):
        return name
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    tag = re.sub(r"[^A-Za-z0-9_-]+", "_", letters).strip("_-")
    tag = tag if tag[:1].isalpha() or not tag else f"t_{tag}"
    if not tag:
        raise ValueError(f"no tag can be made from the name {name!r}: give it one with 'tag'")
    return tag[:64]


def _parse(path: Path, content: str) -> Any:
    """The content as plain data: YAML if the file is named so, otherwise JSON."""
    if path.suffix.lower() in {".yaml", ".yml"}:
        try:
            import yaml
        except ImportError:
            raise MissingExtraError("PyYAML", "yaml") from None
        try:
            return yaml.safe_load(content)
        except yaml.YAMLError as error:
            raise SchemaError(f"{path}: not YAML: {' '.join(str(error).split())}\n{_SHAPE}") from None
    return read_json(path, content, lambda message: SchemaError(f"{message}\n{_SHAPE}"))


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
    guide=(
        "A product of one company, under the name it is sold by: brand. It begins with a capital letter, or"
        " is written in capitals, in the middle of a sentence too.",
        "A word for several substances at once, by use, mechanism, chemistry or source: group. It is often "
        "a plural, or ends in agents, drugs, inhibitors, blockers, agonists, antagonists, derivatives. All "
        "the words that narrow the class belong to it: 'potassium-sparing diuretics', 'CYP2D6 inhibitors'.",
        "One substance, under its generic or chemical name, that doctors give to people to treat, prevent "
        "or diagnose: drug. Vaccines, hormones, vitamins, minerals, anaesthetics and alcohol count, and so "
        "does a salt or ester with its whole name.",
        "One substance that acts on the body but is not a medicine for people: drug_n. Ask of every name "
        "whether a pharmacy could hand it out. If not, it is drug_n and must be marked all the same: toxins"
        " and venoms, pesticides, carcinogens, illegal drugs, medicines for animals alone, metabolites of a"
        " medicine, substances under study, and the ligands, agonists, antagonists and inhibitors of the "
        "laboratory, which often go by a chemical name or by a code of letters and digits.",
        "Not marked: diseases and symptoms, genes, enzymes and receptors, foods, substances that are only "
        "measured in the blood, and words that fit every medicine (drug, medication, therapy, dose, "
        "placebo).",
        "Mark each occurrence, abbreviations in brackets on their own, without dose, route, form, article "
        "or punctuation around the name.",
    ),
)
"""The four types of the DDI-2013 corpus (Herrero-Zazo et al. 2013); the guide is ours."""
