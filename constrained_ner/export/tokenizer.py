"""Writes a Hugging Face tokenizer as GGUF metadata, for the two kinds that our model families use.

Byte-level BPE (`gpt2` in GGUF) splits text into words before it merges. llama.cpp has the common ways of
splitting built in and selects one by name. We derive the name from the tokenizer's own rule, and refuse rules
that are not in the table: a wrong one would go unnoticed and quietly make the model worse.

SentencePiece BPE (`llama` in GGUF) merges by the scores of the pieces, which follow from the merge order.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from gguf import GGUFWriter, TokenType

from ..backends.transformers.vocabulary import template_of
from ..errors import ModelError
from ..vocabulary import Vocabulary

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = _CONTRACTIONS + r"\p{N}{1,3}" + _REST
_QWEN2 = _CONTRACTIONS + r"\p{N}" + _REST
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT2 = "words of GPT-2"
_DIGITS = "digits one by one"

_PRE_TOKENIZERS: dict[tuple[tuple[str, ...], bool], str] = {
    ((_GPT2,), False): "gpt-2",
    ((_LLAMA3,), True): "llama-bpe",
    ((_LLAMA3,), False): "smaug-bpe",
    ((_QWEN2,), False): "qwen2",
    ((_TEKKEN,), True): "tekken",
    ((_DIGITS, _GPT2), False): "smollm",
}
"""(splits in order, whether words that are tokens are taken without merging) -> llama.cpp's name."""

ENDS_BY_NAME = {
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "</s>",
}
"""Tokens that llama.cpp itself recognises as the end of an answer."""

_UNMERGED = -1e6  # for pieces that no merge makes: worse than any merge


def add_tokenizer(writer: GGUFWriter, tokenizer: Any, vocabulary: Vocabulary, bos_id: int | None) -> None:
    """Add tokens, their kinds, merges or scores, special ids, and the chat template.

    vocabulary: the same tokenizer, as our back end for transformers sees it.
    bos_id: from the model's configuration, for tokenizers without one.
    Raises ModelError if llama.cpp could not tokenise text as the tokenizer does.
    """
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    model, name = content["model"], str(tokenizer.name_or_path)
    if model.get("type") != "BPE":
        raise ModelError(f"{name}: a tokenizer of type {model.get('type')}, but only BPE can be exported")
    for setting in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(setting):
            raise ModelError(f"{name}: a tokenizer with {setting}, which llama.cpp does not support")
    if model.get("byte_fallback"):
        _add_sentencepiece(writer, content, len(vocabulary), name)
    else:
        _add_byte_level(writer, content, len(vocabulary), name)
    _add_special_ids(writer, tokenizer, vocabulary, bos_id)
    template = template_of(tokenizer)
    if template is not None:
        writer.add_chat_template(template)


def pre_tokenizer_name(content: dict[str, Any], name: str) -> str:
    """Find llama.cpp's name for the way a byte-level tokenizer splits text into words.

    content: of `tokenizer.json`. Raises ModelError for a way that is not in the table.
    """
    normalizer = content.get("normalizer")
    # NFC would alter the text, so neither llama.cpp nor our reading of the tokenizer applies it.
    if normalizer is not None and normalizer != {"type": "NFC"}:
        raise ModelError(f"{name}: a byte-level tokenizer with the unknown normaliser {normalizer['type']}")
    cuts = tuple(cut for step in _steps(content["pre_tokenizer"]) if (cut := _cut(step)))
    found = _PRE_TOKENIZERS.get((cuts, bool(content["model"].get("ignore_merges"))))
    if found is None:
        raise ModelError(
            f"{name}: the tokenizer splits text in an unknown way, so llama.cpp might tokenise differently: "
            f"{' then '.join(cuts) or 'none'}"
        )
    return found


def _add_byte_level(writer: GGUFWriter, content: dict[str, Any], n_tokens: int, name: str) -> None:
    texts, kinds = _tokens(content, n_tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer_name(content, name))
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in _merges(content)])


def _add_sentencepiece(writer: GGUFWriter, content: dict[str, Any], n_tokens: int, name: str) -> None:
    vocabulary = content["model"]["vocab"]
    if any(f"<0x{byte:02X}>" not in vocabulary for byte in range(256)):
        raise ModelError(f"{name}: a SentencePiece tokenizer without a token for every byte")
    texts, kinds = _tokens(content, n_tokens)
    best: dict[str, float] = {}
    for rank, (left, right) in enumerate(_merges(content)):
        best.setdefault(left + right, -float(rank))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_scores([best.get(text, _UNMERGED) for text in texts])
    writer.add_add_space_prefix(_begins_with_space(content, name))


def _add_special_ids(writer: GGUFWriter, tokenizer: Any, vocabulary: Vocabulary, bos_id: int | None) -> None:
    """Add begin, end, padding, unknown; as eot and eom, ends that llama.cpp does not know by name."""
    bos = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else bos_id
    ends = sorted(vocabulary.stop_ids)
    eos = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else next(iter(ends), None)
    for add, token_id in (
        (writer.add_bos_token_id, bos),
        (writer.add_eos_token_id, eos),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
        (writer.add_unk_token_id, tokenizer.unk_token_id),
    ):
        if token_id is not None and token_id < len(vocabulary):
            add(token_id)
    unnamed = [i for i in ends if i != eos and tokenizer.convert_ids_to_tokens(i) not in ENDS_BY_NAME]
    for add, token_id in zip((writer.add_eot_token_id, writer.add_eom_token_id), unnamed, strict=False):
        add(token_id)
    writer.add_add_bos_token(vocabulary.bos_id is not None)
    writer.add_add_eos_token(False)


def _tokens(content: dict[str, Any], n_tokens: int) -> tuple[list[str], list[TokenType]]:
    """List texts and kinds of all ids. Rows of the model beyond the tokenizer's tokens are unused tokens."""
    texts = [f"[PAD{token_id}]" for token_id in range(n_tokens)]
    kinds = [TokenType.UNUSED] * n_tokens
    byte_tokens = content["model"].get("byte_fallback")
    for text, token_id in content["model"]["vocab"].items():
        is_byte = byte_tokens and len(text) == 6 and text.startswith("<0x")
        texts[token_id], kinds[token_id] = text, TokenType.BYTE if is_byte else TokenType.NORMAL
    for token in content["added_tokens"]:
        kind = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
        texts[token["id"]], kinds[token["id"]] = token["content"], kind
    unknown = content["model"].get("unk_token")
    if unknown is not None and byte_tokens:
        kinds[content["model"]["vocab"][unknown]] = TokenType.UNKNOWN
    return texts, kinds


def _merges(content: dict[str, Any]) -> list[tuple[str, str]]:
    """Read the merges: old files write "a b", newer ones ["a", "b"]."""
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in content["model"]["merges"])
    return [(left, right) for left, right in pairs]


def _steps(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Flatten a pre-tokenizer or normaliser into a list of steps."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    inner = part.get("pretokenizers") or part.get("normalizers") or []
    return [step for one in inner for step in _steps(one)]


def _cut(step: dict[str, Any]) -> str:
    """Name what a step of a byte-level pre-tokenizer splits by; "" for one that only maps bytes."""
    kind = step["type"]
    if kind == "ByteLevel" and not step["add_prefix_space"]:
        return _GPT2 if step["use_regex"] else ""
    if kind == "Digits" and step["individual_digits"]:
        return _DIGITS
    if kind == "Split" and step["behavior"] == "Isolated" and not step["invert"]:
        return str(step["pattern"].get("Regex", step["pattern"]))
    return json.dumps(step)


def _begins_with_space(content: dict[str, Any], name: str) -> bool:
    """Whether a SentencePiece tokenizer puts a space before a text. Raises ModelError for unknown steps."""
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    prefix = {"type": "Prepend", "prepend": "\u2581"}
    steps = [*_steps(content.get("normalizer")), *_steps(content.get("pre_tokenizer"))]
    begins = False
    for step in steps:
        if step == prefix or (step["type"] == "Metaspace" and step["prepend_scheme"] != "never"):
            begins = True
        elif step == space or step["type"] == "Metaspace":
            pass
        elif step["type"] == "Split" and step["pattern"] == {"String": " "}:
            pass  # Gemma's, which has no spaces left to split
        else:
            raise ModelError(f"{name}: a SentencePiece tokenizer with the unknown step {step['type']}")
    return begins


def known_texts(tokenizer: Any, controls: Collection[int]) -> list[str]:
    """Make texts in which the tokenizer's control tokens are spelt out, to test with."""
    return [
        f"a {text} b{text}c" for text in map(tokenizer.convert_ids_to_tokens, sorted(controls)[:20]) if text
    ]
