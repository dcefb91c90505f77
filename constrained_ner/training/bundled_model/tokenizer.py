"""The bundled model's tokenizer: byte-level BPE, and control tokens for everything that is not text.

GPT-2's pre-tokenisation (words carry their leading space) is what llama.cpp reproduces id for id. Opening
tags come in two forms, ` <drug>` and `<drug>`: the first takes the space before the name into itself, so that
every other word of the answer keeps the ids that it has in the prompt.

Text never becomes a control token: `encode` reads `<drug>` as the six characters that it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from ...errors import ModelError
from ...schema import DDI, EntityType, Schema
from ...vocabulary import Vocabulary, bytes_of_byte_level

CHEMICAL = Schema(
    name="chemical",
    types=(EntityType(name="chemical", description="a named chemical substance"),),
)
"""What the other annotated corpora agree on. Learnt beside DDI, told apart by a task token of its own."""

PAD, END, SEPARATOR = "<|pad|>", "<|end|>", "<|sep|>"
TASKS = {DDI.name: SEPARATOR, CHEMICAL.name: "<|chemical|>"}
"""Schema name -> the token that stands between the sentence and its answer."""

CHAT_TEMPLATE = "{{ messages[-1]['content'] }}" + SEPARATOR
"""The prompt: the sentence, the separator. Instructions and examples are in the weights."""


def control_tokens(schemas: Sequence[Schema] = (DDI, CHEMICAL)) -> list[str]:
    """The texts of the control tokens, in the order of their ids."""
    tags = [tag for s in schemas for t in s.type_names for tag in (f" <{t}>", f"<{t}>", f"</{t}>")]
    return [PAD, END, *TASKS.values(), *tags]


def train_tokenizer(texts: Iterable[str], *, size: int = 8000) -> ModelTokenizer:
    """A tokenizer of `size` ids, control tokens included, the same for the same texts."""
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
    """Ids of one schema's tags, each in the order of the schema's types."""

    open_after_space: tuple[int, ...]
    open_bare: tuple[int, ...]
    close: tuple[int, ...]


class ModelTokenizer:
    """Text to ids and control texts to ids, kept apart."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.tokenizer.encode_special_tokens = True
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

    def encode(self, text: str) -> list[int]:
        """Ids of the text as text: what spells a control token becomes ordinary tokens."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def control(self, text: str) -> int:
        """Id of a control token; ModelError if the tokenizer lacks it."""
        token_id = self.tokenizer.token_to_id(text)
        if token_id is None:
            raise ModelError(f"the tokenizer has no control token {text!r}")
        return int(token_id)

    def tags(self, schema: Schema) -> TagIds:
        """Ids of the schema's tags."""
        names = schema.type_names
        return TagIds(
            open_after_space=tuple(self.control(f" <{name}>") for name in names),
            open_bare=tuple(self.control(f"<{name}>") for name in names),
            close=tuple(self.control(f"</{name}>") for name in names),
        )

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The same tokens as the decoders see them."""
        by_text = self.tokenizer.get_vocab(with_added_tokens=True)
        texts = sorted(by_text, key=by_text.__getitem__)
        pieces = [bytes_of_byte_level(text) for text in texts[: self.n_text_tokens]]
        return Vocabulary(
            [*pieces, *(text.encode() for text in texts[self.n_text_tokens :])],
            control_ids=range(self.n_text_tokens, self.n_tokens),
            stop_ids=[self.end],
            tokenize=self.encode,
        )
