"""Small vocabularies of each kind, for tests without a model."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tiny_models import SENTENCES, byte_level_tokenizer
from tokenizers import Tokenizer, models, normalizers, trainers

from constrained_ner.constraint.markup import Markup
from constrained_ner.schema import DDI
from constrained_ner.vocabulary import Vocabulary, bytes_of_byte_level, bytes_of_sentencepiece


def byte_vocabulary() -> Vocabulary:
    """One token per byte, and a stop token."""
    pieces = [bytes([byte]) for byte in range(256)] + [b"<end>"]
    return Vocabulary(pieces, control_ids=[256], stop_ids=[256], tokenize=lambda text: list(text.encode()))


def byte_level_vocabulary() -> Vocabulary:
    """GPT-2's kind, 400 tokens."""
    return _of(byte_level_tokenizer(), [])


def tag_token_vocabulary() -> Vocabulary:
    """The same with control tokens for the tags, as in a model trained for this task."""
    markup = Markup(DDI)
    tags = [
        spelling
        for name in markup.types
        for spelling in (" " + markup.open_tag(name), markup.open_tag(name), markup.close_tag(name))
    ]
    return _of(byte_level_tokenizer(), tags)


def _of(tokenizer: Tokenizer, tags: Sequence[str]) -> Vocabulary:
    added = {i: token.content for i, token in tokenizer.get_added_tokens_decoder().items()}
    n_tokens = tokenizer.get_vocab_size()
    pieces = [
        added[i].encode() if i in added else bytes_of_byte_level(str(tokenizer.id_to_token(i)))
        for i in range(n_tokens)
    ]
    controls = [i for i, content in added.items() if content.startswith("<|")]
    stop_id = next(i for i, content in added.items() if content == "<|im_end|>")
    return Vocabulary(
        [*pieces, *(tag.encode() for tag in tags)],
        control_ids=[*controls, *range(n_tokens, n_tokens + len(tags))],
        stop_ids=[stop_id],
        tokenize=lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids),
    )


def sentencepiece_vocabulary() -> Vocabulary:
    """Llama 2's kind: spaces are part of the pieces, it adds a leading space, byte tokens for the rest."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    # The trainer adds the byte tokens as special tokens, which would then be found in text.
    tokenizer = Tokenizer.from_str(_without_added_tokens(tokenizer.to_str()))
    spelt = [str(tokenizer.id_to_token(i)) for i in range(tokenizer.get_vocab_size())]
    return Vocabulary(
        [b"", b"<s>", b"</s>", *map(bytes_of_sentencepiece, spelt[3:])],
        control_ids=[0, 1, 2],
        stop_ids=[2],
        tokenize=lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids),
        leading_space=True,
    )


def _without_added_tokens(content: str) -> str:
    return json.dumps({**json.loads(content), "added_tokens": []})
