"""Make a tiny instruct model with random weights: it has everything that a real one has, except knowledge.

    python examples/tiny_instruct.py OUT_DIR [--family llama]

For tests, and for trying the commands when no model can be downloaded: about a million parameters, a
byte-level BPE tokenizer trained on `sample.xml`, a chat template in the style of ChatML, an end-of-turn token
that is not the padding token. Needs the extra `transformers`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import transformers
from defusedxml.ElementTree import parse as parse_xml
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

SAMPLE = Path(__file__).with_name("sample.xml")
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INSTRUCTIONS = (
    "You find names in sentences and mark them with tags. Write the sentence again exactly as it stands, "
    "every character of it, and put tags around each name. The types are drug, brand, group and drug_n. "
    "Change nothing else, add nothing, explain nothing.\nsystem\nuser\nassistant\n"
    " <drug>a</drug> <brand>a</brand> <group>a</group> <drug_n>a</drug_n>\n"
)
FAMILIES = {
    "llama": transformers.LlamaConfig,
    "mistral": transformers.MistralConfig,
    "qwen2": transformers.Qwen2Config,
    "qwen3": transformers.Qwen3Config,
    "gemma2": transformers.Gemma2Config,
}


def make_tiny_instruct(
    folder: Path,
    *,
    family: str = "llama",
    texts: Iterable[str] | None = None,
    n_tokens: int = 1500,
    seed: int = 0,
    **sizes: Any,
) -> Path:
    """Write the model as a transformers folder (safetensors, float32) and return the folder.

    texts: what to train the tokenizer on; the sentences of `sample.xml` by default.
    n_tokens: size of the vocabulary, control tokens included; smaller if the texts do not have as many.
    sizes: changes to the configuration, such as num_hidden_layers=2.
    """
    tokenizer = train_tokenizer(sample_sentences() if texts is None else texts, n_tokens)
    configuration = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 2048,
        "initializer_range": 0.1,  # with the usual 0.02 an adapter learns little, since embeddings are frozen
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.token_to_id(END),
        "pad_token_id": tokenizer.token_to_id(PAD),
    }
    configuration |= sizes
    if family == "gemma2":  # as in the released models, and as llama.cpp assumes
        configuration.setdefault("query_pre_attn_scalar", configuration["head_dim"])
    torch.manual_seed(seed)
    transformers.utils.logging.disable_progress_bar()
    config = FAMILIES[family](**configuration)
    model: Any = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        model_max_length=config.max_position_embeddings,
    )
    wrapped.save_pretrained(folder)
    return folder


def train_tokenizer(texts: Iterable[str], n_tokens: int) -> Tokenizer:
    """Train a byte-level BPE with GPT-2's pre-tokenisation; ids of text come before control tokens."""
    controls = [PAD, START, END]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_tokens - len(controls),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([INSTRUCTIONS, *texts], trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in controls])
    return tokenizer


def sample_sentences() -> list[str]:
    """Read the sentences of `sample.xml`."""
    return [sentence.attrib["text"] for sentence in parse_xml(SAMPLE).iter("sentence")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make a tiny instruct model with random weights.")
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("--family", choices=sorted(FAMILIES), default="llama")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    made = make_tiny_instruct(options.out, family=options.family, seed=options.seed)
    print(f"{made}: a {options.family} model with random weights")
