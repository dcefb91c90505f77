"""Tiny models of every family that can be exported: random weights, real tokenizers, real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_models import CHAT_TEMPLATE, SENTENCES, byte_level_tokenizer
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_WORDS = QWEN2_WORDS.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)
TEKKEN_WORDS = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SENTENCEPIECE_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "{{ message['content'] }}</s>{% else %}[INST]{{ message['content'] }}[/INST]{% endif %}{% endfor %}"
)
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>{{ message['role'] }}\n"
    "{{ message['content'] }}<end_of_turn>\n{% endfor %}<start_of_turn>model\n"
)


def word_tokenizer(words: str, *, ignore_merges: bool = False, bos: bool = False) -> Tokenizer:
    """Make a byte-level BPE that splits text by a regular expression, like Llama 3, Qwen 2 and Tekken."""
    tokenizer = byte_level_tokenizer()
    content = json.loads(tokenizer.to_str())
    content["model"]["ignore_merges"] = ignore_merges
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    if bos:
        first = ("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first[0]} $A", pair=f"{first[0]} $A $B", special_tokens=[first]
        )
    return tokenizer


def sentencepiece_tokenizer(
    *, prefix: bool = True, controls: tuple[str, ...] = ("[INST]", "[/INST]")
) -> Tokenizer:
    """Make a SentencePiece BPE with byte tokens, like Gemma. prefix: a space before text, like Llama 2."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    spaces = normalizers.Replace(" ", "\u2581")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), spaces]) if prefix else spaces
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    content = json.loads(tokenizer.to_str())  # the trainer adds byte tokens as special tokens
    content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] < 3]
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in controls])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def tokenizer_of(kind: str) -> tuple[Tokenizer, dict[str, Any]]:
    """Return a tokenizer like that of the family, and the arguments to wrap it for transformers."""
    byte_level = {"eos_token": "<|im_end|>", "chat_template": CHAT_TEMPLATE}
    pieces = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    if kind == "llama":
        tokenizer = word_tokenizer(LLAMA3_WORDS, ignore_merges=True, bos=True)
        return tokenizer, byte_level | {"bos_token": "<|endoftext|>"}
    if kind in ("qwen2", "qwen3"):
        tokenizer = word_tokenizer(QWEN2_WORDS)
        tokenizer.normalizer = normalizers.NFC()
        return tokenizer, byte_level
    if kind == "mistral":
        return sentencepiece_tokenizer(), pieces | {"chat_template": SENTENCEPIECE_TEMPLATE}
    controls = ("<start_of_turn>", "<end_of_turn>")
    return sentencepiece_tokenizer(prefix=False, controls=controls), pieces | {
        "chat_template": GEMMA_TEMPLATE
    }


def write_model(
    folder: Path,
    kind: str,
    *,
    tokenizer: Tokenizer | None = None,
    wide: bool = False,
    seed: int = 0,
    **changes: Any,
) -> Path:
    """Write a transformers folder with random weights.

    kind: the `model_type`. wide: use rows of 256 numbers, which the smaller types need.
    """
    import torch
    import transformers
    from transformers.utils import logging

    own, wrapping = tokenizer_of(kind)
    tokenizer = tokenizer or own
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **wrapping)
    config = configuration(kind, wrapped, wide=wide, **changes)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.ndim > 1:
                weights.mul_(5)  # far enough from uniform to reveal mistakes
            elif name.endswith(("norm.weight", "bias")):
                weights.add_(0.3 * torch.randn(weights.shape))
    model.save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


def configuration(kind: str, wrapped: Any, *, wide: bool, **changes: Any) -> Any:
    import transformers

    # Three more rows than tokens, as in models whose embeddings are padded.
    sizes: dict[str, Any] = {"vocab_size": len(wrapped) + 3, "hidden_size": 256 if wide else 48}
    sizes |= {"intermediate_size": 512 if wide else 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "head_dim": 64 if wide else 16, "max_position_embeddings": 1024}
    sizes |= {
        "bos_token_id": wrapped.bos_token_id,
        "eos_token_id": wrapped.eos_token_id,
        "pad_token_id": None,
    }
    untied = {"tie_word_embeddings": False}
    own: dict[str, dict[str, Any]] = {
        "llama": {**untied},
        "mistral": {**untied, "sliding_window": None},
        "qwen2": {"tie_word_embeddings": True, "head_dim": 64 if wide else 12},
        "qwen3": {"tie_word_embeddings": True},
        "gemma": {},
        "gemma2": {"query_pre_attn_scalar": sizes["head_dim"], "sliding_window": 7, "num_hidden_layers": 3},
        "gemma3_text": {
            "query_pre_attn_scalar": sizes["head_dim"],
            "sliding_window": 7,
            "num_hidden_layers": 6,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            },
        },
    }
    classes = {
        "llama": transformers.LlamaConfig,
        "mistral": transformers.MistralConfig,
        "qwen2": transformers.Qwen2Config,
        "qwen3": transformers.Qwen3Config,
        "gemma": transformers.GemmaConfig,
        "gemma2": transformers.Gemma2Config,
        "gemma3_text": transformers.Gemma3TextConfig,
    }
    return classes[kind](**sizes | own[kind] | changes)
