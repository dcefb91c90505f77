"""Everything this package raises on purpose.

    ConstrainedNerError
    ├── UserError               something the user can fix; commands print it on one line and exit with 2
    │   ├── InputError          an input file: missing, not XML, without sentences
    │   │   └── DamagedFilesError   some files of a folder; names them all, one a line
    │   ├── OutputError         an output file that cannot be written
    │   ├── SchemaError         an unusable schema
    │   ├── PromptError         an unusable prompt file or chat template
    │   ├── ModelError          a model that does not load, or cannot do what is asked of it
    │   │   └── OutOfMemoryError    a model that is too large for this machine in the requested form
    │   ├── UnknownOptionError  a keyword that is no option; a TypeError, too
    │   └── MissingExtraError   a dependency that is not installed; names the pip command
    └── SentenceError           one sentence failed; the run records it and continues
        ├── ContextOverflowError    a text that is too long for the model's context and has to be cut
        └── UnwritableError         a text with a character that the model's vocabulary cannot write

A message says where, what is wrong and with which value:
`devel.xml: sentence d1.s0: entity e0: offsets 3-90 run past the text (40 characters)`.
"""

from __future__ import annotations

from collections.abc import Sequence


class ConstrainedNerError(Exception):
    """The root: catches everything that the package raises on purpose."""


class UserError(ConstrainedNerError):
    """Something that the user can fix."""


class InputError(UserError):
    """An input file that is missing, unreadable or malformed."""


class DamagedFilesError(InputError):
    """Files of a folder that cannot be read; the others could be."""

    @classmethod
    def of(cls, input: object, messages: Sequence[str], n_files: int) -> InputError:
        """The error for the files that these messages name; a plain InputError if there is only one file."""
        if n_files == 1:
            return InputError(messages[0])
        listed = "\n  ".join(messages)
        return cls(f"{input}: {len(messages)} of {n_files} files cannot be read:\n  {listed}")


class OutputError(UserError):
    """An output file that cannot be written."""


class SchemaError(UserError):
    """An unusable schema."""


class PromptError(UserError):
    """An unusable prompt file or chat template."""


class ModelError(UserError):
    """A model that does not load, or cannot do what is asked of it."""


class OutOfMemoryError(ModelError):
    """A model that is too large for this machine in the requested form."""


class UnknownOptionError(UserError, TypeError):
    """A keyword that is no option."""


class MissingExtraError(UserError):
    """A dependency that is not installed."""

    def __init__(self, package: str, extra: str | None = None) -> None:
        """extra: None if the package is needed in any case, and something removed it."""
        wanted = f"'constrained-ner[{extra}]'" if extra else package
        super().__init__(f"{package} is not installed: pip install {wanted}")


class SentenceError(ConstrainedNerError):
    """One sentence could not be annotated; the run continues without it."""


class UnwritableError(SentenceError, ValueError):
    """A text with a character that the model's vocabulary cannot write."""


class ContextOverflowError(SentenceError):
    """Prompt, text and answer do not fit the model's context: the text has to be cut."""
