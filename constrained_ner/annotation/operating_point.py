"""An operating point: the bias that was fitted for one model with one prompt and its examples. A JSON file.

`training.fit_bias` fits it, `constraint.bias` applies it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from ..data import Sentence
from ..errors import InputError
from ..files import read_text, write_atomically
from ..misfits import first_misfit

_NO_PART = ("bias", "consistency", "min_confidence", "strict")
"""Settings that do not change what is fitted."""


METHODS = ("auto", "content-free")


def wanted_precision(method: str) -> float | None:
    """The precision that a method asks for. Example: "precision=0.8" -> 0.8; "auto" -> None"""
    name, _, number = method.partition("=")
    return float(number) if name == "precision" else None


def checked_method(asked: str) -> str:
    """The method or file that --operating-point names. Raises ValueError if it is neither."""
    if asked in METHODS or Path(asked).is_file():
        return asked
    try:
        if 0 < (wanted_precision(asked) or 0) < 1:
            return asked
    except ValueError:
        pass
    raise ValueError(f"must be {', '.join(METHODS)}, precision=NUMBER between 0 and 1, or a file that exists")


def is_file(asked: str) -> bool:
    """Whether --operating-point names a file, not a method."""
    return asked not in METHODS and not asked.startswith("precision=")


class Scores(BaseModel):
    """What the decoder is expected to find in the sentences that were fitted on, by replaying it."""

    model_config = ConfigDict(frozen=True)

    precision: float
    recall: float
    f1: float


class OperatingPoint(BaseModel):
    """A bias, and all that it was fitted for and on."""

    model_config = ConfigDict(frozen=True, title="OPERATING_POINT.json")

    bias: dict[str, FiniteFloat] = Field(
        description='What to add to the logit of opening each type, and of closing ("/").'
    )
    method: str = Field(description="auto (best F1), precision=NUMBER, or content-free.")
    fits: str = Field(description="SHA-256 of what it was fitted for: model, prompt, examples, settings.")
    fitted_on: tuple[tuple[str, str], ...] = Field(
        default=(), description="Id and SHA-256 of the text of each labelled sentence that was used."
    )
    n_mentions: dict[str, int] = Field(default={}, description="Their mentions of each type.")
    without: Scores | None = Field(default=None, description="Scores on them without a bias.")
    with_bias: Scores | None = Field(default=None, description="Scores on them with it.")

    def summary(self) -> str:
        """One line. Example: "drug +2.25, group +1.5 (F1 3.1 -> 24.0 on 60 sentences)"."""
        biases = ", ".join(f"{name} {value:+g}" for name, value in self.bias.items())
        if self.without is None or self.with_bias is None:
            return biases
        before, after = 100 * self.without.f1, 100 * self.with_bias.f1
        return f"{biases} (F1 {before:.1f} -> {after:.1f} on {len(self.fitted_on)} sentences)"

    def save(self, path: Path) -> None:
        """Write it, atomically. Raises OutputError."""
        write_atomically(path, [self.model_dump_json(indent=2), "\n"])

    @classmethod
    def load(cls, path: Path) -> OperatingPoint:
        """Read a file. Raises InputError if it is none."""
        try:
            return cls.model_validate_json(read_text(path, InputError))
        except ValidationError as error:
            raise InputError(
                f"{path}: not an operating point: {first_misfit(error, 'operating point')}\n"
                "bin/calibrate writes one with --point"
            ) from None


def hash_of_text(text: str) -> str:
    """SHA-256 of a text, whatever its case and white space."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode(errors="replace")).hexdigest()


def hashes_of(sentences: Iterable[Sentence]) -> tuple[tuple[str, str], ...]:
    """Id and hash of the text of each sentence."""
    return tuple((sentence.id, hash_of_text(sentence.text)) for sentence in sentences)


def what_it_fits(identity: dict[str, Any]) -> str:
    """The hash of an annotator's identity, without what does not change an operating point."""
    kept = {name: value for name, value in identity.items() if name not in _NO_PART}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()
