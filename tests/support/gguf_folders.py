"""A GGUF model as a transformers folder, for what reads nothing else (vLLM, export)."""

from __future__ import annotations

from pathlib import Path


def as_folder(model: Path, folder: Path) -> Path:
    """Write the model as a transformers folder, its weights in single precision."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(model.parent, gguf_file=model.name, dtype=torch.float32)
    for name in ("quantization_config", "is_quantized", "hf_quantizer"):  # it is not quantized any more
        loaded.__dict__.pop(name, None)
        loaded.config.__dict__.pop(name, None)
    loaded.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model.parent, gguf_file=model.name).save_pretrained(folder)
    return folder
