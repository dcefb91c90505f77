"""The bundled model's tokenizer: byte-level BPE, and control tokens for everything that is not text.

It splits text into words as GPT-2 does (a word carries its leading space), which llama.cpp reproduces id for
id. Opening tags come in two forms, ` <drug>` and `<drug>`. The first absorbs the space before the name, so
that every other word of the answer keeps the ids it has in the prompt.

Text never becomes a control token: `vocabulary.encode` reads `<drug>` as six characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from ...backends.transformers.vocabulary import vocabulary_of_tokenizer
from ...errors import ModelError
from ...schema import DDI, EntityType, Schema
from ...vocabulary import Vocabulary
from ..targets import TargetWriter

CHEMICAL = Schema(
    name="chemical",
    types=(EntityType(name="chemical", description="a named chemical substance"),),
)
"""The one type that all other annotated corpora share: a second task beside DDI, with its own task token."""

PAD, END, SEPARATOR = "<|pad|>", "<|end|>", "<|sep|>"
TASKS = {DDI.name: SEPARATOR, CHEMICAL.name: "<|chemical|>"}
"""Schema name -> the task token, which separates the sentence from its answer."""


def chat_template(schema: Schema = DDI) -> str:
    """The prompt: the sentence, then the task token. Instructions and examples are in the weights."""
    return "{{ messages[-1]['content'] }}" + TASKS[schema.name]


CHAT_TEMPLATE = chat_template()
"""The template that ships in the model's GGUF."""


def control_tokens(schemas: Sequence[Schema] = (DDI, CHEMICAL)) -> list[str]:
    """Spell out the control tokens, in the order of their ids."""
    tags = [tag for s in schemas for t in s.type_names for tag in (f" <{t}>", f"<{t}>", f"</{t}>")]
    return [PAD, END, *TASKS.values(), *tags]


def train_tokenizer(texts: Iterable[str], *, size: int = 8000) -> ModelTokenizer:
    """Train a tokenizer of `size` ids, control tokens included; the same texts give the same tokenizer."""
    controls = control_tokens()
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    alphabet = sorted(ByteLevel.alphabet())
    trainer = BpeTrainer(
        vocab_size=size - len(controls), initial_alphabet=alphabet, show_progress=False, special_tokens=[]
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in controls])
    return ModelTokenizer(tokenizer)


@dataclass(frozen=True)
class TagIds:
    """Ids of one schema's tags, in the order of its types."""

    open_after_space: tuple[int, ...]
    open_bare: tuple[int, ...]
    close: tuple[int, ...]


class ModelTokenizer:
    """Knows which ids are text, and which control token is which."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.n_tokens: int = tokenizer.get_vocab_size()
        self.n_text_tokens: int = tokenizer.get_vocab_size(with_added_tokens=False)
        self.pad = self.control(PAD)
        self.end = self.control(END)

    @classmethod
    def load(cls, path: Path) -> ModelTokenizer:
        """Read a `tokenizer.json`."""
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:  # tokenizers raises bare Exception
            raise ModelError(f"{path}: not a tokenizer: {error}") from None

    def save(self, path: Path) -> None:
        self.tokenizer.save(str(path))

    def control(self, text: str) -> int:
        """Look up a control token; ModelError if the tokenizer lacks it."""
        token_id = self.tokenizer.token_to_id(text)
        if token_id is None:
            raise ModelError(f"the tokenizer has no control token {text!r}")
        return int(token_id)

    def tags(self, schema: Schema) -> TagIds:
        """Look up the schema's tags."""
        names = schema.type_names
        return TagIds(
            open_after_space=tuple(self.control(f" <{name}>") for name in names),
            open_bare=tuple(self.control(f"<{name}>") for name in names),
            close=tuple(self.control(f"</{name}>") for name in names),
        )

    def for_transformers(self, n_context: int | None = None) -> Any:
        """Wrap the tokenizer for transformers, with the chat template. n_context: longest text in tokens."""
        wrapped: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=self.tokenizer,
            eos_token=END,
            pad_token=PAD,
            clean_up_tokenization_spaces=False,
            model_max_length=n_context,
        )
        wrapped.chat_template = CHAT_TEMPLATE
        return wrapped

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The tokens as decoding sees them. Text stays text, whatever control token it spells."""
        return vocabulary_of_tokenizer(self.for_transformers())

    def target_writer(self, schema: Schema) -> TargetWriter:
        """Make a writer of training examples in one of the schemas of `TASKS`."""
        return TargetWriter(self.vocabulary, chat_template(schema), schema=schema)
