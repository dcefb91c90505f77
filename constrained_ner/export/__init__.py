"""A model of transformers as a GGUF file for llama.cpp, with a LoRA merged into it or as a file of its own.

checkpoint.py   a folder of safetensors, read one tensor at a time
lora.py         a LoRA of peft: what it adds to a weight, what it replaces
families.py     which models can be told to llama.cpp, and how: metadata and rows of the weights
tokenizer.py    a Hugging Face tokenizer as GGUF metadata
gguf_file.py    the file itself, streamed, and put in place when it is whole
quantise.py     smaller types, by llama.cpp's own quantiser
verify.py       the file opened by llama.cpp: the same tokens, the same tensors, or it is not kept
convert.py      all of it together
"""

from importlib.util import find_spec

from ..errors import MissingExtraError

if find_spec("gguf") is None:
    raise MissingExtraError("gguf", "train,llamacpp")
