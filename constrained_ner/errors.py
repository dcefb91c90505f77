"""Everything this package raises on purpose.

    ConstrainedNerError
    ├── UserError            something the user can mend; the commands print it in one line and exit with 2
    │   ├── InputError       a file to read: missing, not XML, an entity that does not fit its text
    │   ├── OutputError      a file to write
    │   ├── SchemaError      a schema that cannot be used
    │   ├── PromptError      a prompt file or a chat template that cannot be used
    │   ├── ModelError       a model that cannot be loaded, or does not fit what is asked of it
    │   │   └── OutOfMemoryError   a model that is too large for this machine, as it is asked for
    │   └── MissingExtraError   an optional dependency; the message holds the pip line
    └── SentenceError        one sentence could not be annotated; the run goes on and records it
        └── ContextOverflowError   a text that does not fit the model's context: it has to be cut

A message names the rule, the value and the place:
`devel.xml: sentence d1.s0: entity e0: span 3-90 runs past the text (40 characters)`.
"""


class ConstrainedNerError(Exception):
    """The root: catch this to catch everything that the package raises on purpose."""


class UserError(ConstrainedNerError):
    """A mistake that the user can mend."""


class InputError(UserError):
    """A file that cannot be read as what it should be."""


class OutputError(UserError):
    """A file that cannot be written."""


class SchemaError(UserError):
    """A schema that cannot be used."""


class PromptError(UserError):
    """A prompt file or a chat template that cannot be used."""


class ModelError(UserError):
    """A model that cannot be loaded, or cannot do what is asked of it."""


class OutOfMemoryError(ModelError):
    """A model that is too large for this machine, as it is asked for."""


class MissingExtraError(UserError):
    """An optional dependency that is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'constrained-ner[{extra}]'")


class SentenceError(ConstrainedNerError):
    """One sentence that could not be annotated."""


class ContextOverflowError(SentenceError):
    """A text that does not fit the model's context with its prompt and answer: it has to be cut."""
