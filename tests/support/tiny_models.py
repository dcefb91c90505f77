"""Models small enough to be made in a test: random weights, real tokenizers, real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

SENTENCES = [
    "Effect of aspirin on beta-blockers in patients with heart failure.",
    "Patients on warfarin should avoid ibuprofen, naproxen and other NSAIDs (e.g. ketoprofen).",
    "Naïve cells (β-lactamase producing) – 50 µg/mL of cefotaxime – were unaffected.",
    "The <b>MPTP</b> model; [3H]-ouabain binding was 12 < 15 % of control.",
    "Coadministration of ketoconazole increases the AUC of midazolam.",
] * 3
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}"
)
CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEXT_LIKE_CONTROLS = ("<think>",)  # added, not special, but the template's own
ADDED_TEXT = ("<td>", "\n\n\n")  # added, not special, ordinary text


def byte_level_tokenizer(n_tokens: int = 400) -> Tokenizer:
    """Byte-level BPE with GPT-2's pre-tokenisation, as in Llama 3 and Qwen."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=n_tokens, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in CONTROLS])
    plain = [*TEXT_LIKE_CONTROLS, *ADDED_TEXT]
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in plain])
    return tokenizer


def write_gguf(
    path: Path, tokenizer: Tokenizer | None, *, n_layers: int = 2, n_hidden: int = 32, seed: int = 0
) -> Path:
    """A Llama in float32 with random weights; without a tokenizer, weights for 300 tokens."""
    n_heads, n_tokens = 2, tokenizer.get_vocab_size() if tokenizer else 300
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(n_hidden)
    writer.add_block_count(n_layers)
    writer.add_feed_forward_length(2 * n_hidden)
    writer.add_head_count(n_heads)
    writer.add_head_count_kv(n_heads)
    writer.add_rope_dimension_count(n_hidden // n_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(n_tokens)
    if tokenizer:
        add_byte_level_tokenizer(writer, tokenizer)
    else:
        writer.add_tokenizer_model("none")
    random = np.random.default_rng(seed)

    def matrix(n_rows: int, n_columns: int) -> np.ndarray:
        return (0.3 * random.standard_normal((n_rows, n_columns))).astype(np.float32)

    ones = np.ones(n_hidden, dtype=np.float32)
    writer.add_tensor("token_embd.weight", matrix(n_tokens, n_hidden))
    writer.add_tensor("output_norm.weight", ones)
    for layer in range(n_layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(n_hidden, n_hidden))
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(2 * n_hidden, n_hidden))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight", matrix(n_hidden, 2 * n_hidden))
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", ones)
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", ones)
    _write(writer)
    return path


def add_byte_level_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    """Write the tokenizer as GGUF metadata, like a converter; `<think>` is user-defined, as in Qwen 3."""
    by_id = {token_id: text for text, token_id in tokenizer.get_vocab(True).items()}
    tokens = [by_id[token_id] for token_id in range(len(by_id))]
    kinds = dict.fromkeys(CONTROLS, gguf.TokenType.CONTROL)
    kinds |= dict.fromkeys((*TEXT_LIKE_CONTROLS, *ADDED_TEXT), gguf.TokenType.USER_DEFINED)
    merges = [" ".join(pair) for pair in _bpe(tokenizer)["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([kinds.get(text, gguf.TokenType.NORMAL) for text in tokens])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(True)
    writer.add_chat_template(CHAT_TEMPLATE)


def write_sentencepiece_gguf(path: Path) -> Path:
    """A vocabulary of the Llama 2 kind: scores, a leading space, byte tokens. No weights."""
    pieces = {"<unk>": gguf.TokenType.UNKNOWN, "<s>": gguf.TokenType.CONTROL, "</s>": gguf.TokenType.CONTROL}
    pieces |= {f"<0x{byte:02X}>": gguf.TokenType.BYTE for byte in range(256)}
    words = ["▁", "▁a", "as", "▁as", "pi", "ri", "rin", "pirin", "▁aspirin", "▁▁", "é"]
    letters = [chr(letter) for letter in range(33, 127)]
    pieces |= dict.fromkeys([*words, *letters], gguf.TokenType.NORMAL)
    pieces["<|user|>"] = gguf.TokenType.USER_DEFINED
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_head_count(2)
    writer.add_feed_forward_length(64)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(list(pieces))
    writer.add_token_types(list(pieces.values()))
    writer.add_token_scores([float(len(piece)) if piece in words else -10.0 for piece in pieces])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    _write(writer)
    return path


def _bpe(tokenizer: Tokenizer) -> dict[str, list[list[str]]]:
    model: dict[str, list[list[str]]] = json.loads(tokenizer.to_str())["model"]
    return model


def _write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_transformers(folder: Path, kind: str, tokenizer: Tokenizer | None = None, **changes: Any) -> Path:
    """A folder of transformers with random weights: 2 layers, 4 heads, hidden size 32.

    kind: "llama", "mistral" (every layer sees 5 tokens), "gemma2" (every other one does, logits are capped)
    or "gpt2".
    """
    import torch
    import transformers
    from transformers.utils import logging

    tokenizer = tokenizer or byte_level_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "max_position_embeddings": 256}
    sizes |= {"bos_token_id": None, "eos_token_id": tokenizer.token_to_id("<|im_end|>"), "pad_token_id": None}
    sizes |= {"vocab_size": tokenizer.get_vocab_size()}
    caps = {"head_dim": 8, "final_logit_softcapping": 2.0, "attn_logit_softcapping": 5.0, "sliding_window": 5}
    config = {
        "llama": lambda: transformers.LlamaConfig(**sizes | changes),
        "mistral": lambda: transformers.MistralConfig(**sizes | {"sliding_window": 5} | changes),
        "gemma2": lambda: transformers.Gemma2Config(**sizes | caps | changes),
        "gpt2": lambda: transformers.GPT2Config(**sizes | changes),
    }[kind]()
    torch.manual_seed(0)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(5 if weights.ndim > 1 else 1)  # far enough from uniform that mistakes show
    model.save_pretrained(folder)
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", chat_template=CHAT_TEMPLATE
    )
    wrapped.save_pretrained(folder)
    return folder
