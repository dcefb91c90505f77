"""Exports a transformers model as a GGUF file for llama.cpp, with a LoRA merged in or as a file of its own.

to_gguf.py      the whole export, in order: start here
checkpoint.py   a folder of safetensors, read one tensor at a time
lora.py         a LoRA of peft: what it adds to a weight, what it replaces
families.py     which models can be exported, and how: metadata and row order of the weights
tokenizer.py    a Hugging Face tokenizer as GGUF metadata
gguf.py         the file itself, streamed, and moved into place when it is complete
quantise.py     smaller types, by llama.cpp's own quantiser
graph.py        the graph of a small Llama, for the back end that runs the bundled model without llama.cpp
verify.py       opens the file with llama.cpp: it must have the same tokens and all tensors, or it is not kept
"""

from importlib.util import find_spec

from ..errors import MissingExtraError

if find_spec("gguf") is None:
    raise MissingExtraError("gguf", "train,llamacpp")
