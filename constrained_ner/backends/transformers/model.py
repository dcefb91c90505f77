"""Loading a causal language model with transformers: safetensors, in full or low precision, or GGUF."""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...errors import MissingExtraError, ModelError
from ...files import file_hash, hash_of_folder, require_content
from ...processors import usable_threads
from .adapter import add_adapter, check_adapter, tokenizer_folder
from .gguf_base import GgufTokenizer, is_gguf, load_config, load_dequantised
from .messages import explained, quiet

import torch  # isort: skip  (after messages.py, which says how to install it)
import transformers  # isort: skip

Quantize = Literal["4bit", "8bit"]
_WRITERS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode on its device, with its tokenizer. name: as the user typed it."""

    name: str
    adapter: str | None
    model: Any
    tokenizer: Any
    config: Any
    device: torch.device
    precision: str

    def identity(self) -> dict[str, str]:
        """What identifies the weights: `sha256` of file or folder, or the hub's `commit`; and the adapter."""
        commit, path = getattr(self.config, "_commit_hash", None), Path(self.name)
        digest = file_hash(path) if path.is_file() else None if commit else hash_of_folder(path)
        about = {"sha256": digest} if digest else {"commit": str(commit)}
        if self.adapter is None:
            return about
        if Path(self.adapter).is_dir():
            return {**about, "adapter_sha256": hash_of_folder(Path(self.adapter))}
        return {**about, "adapter": self.adapter}


def load_model(
    name: str,
    *,
    adapter: str | None,
    quantize: Quantize | None,
    device: str,
    dtype: str,
    trust_remote_code: bool,
    merge: bool | None = None,
) -> LoadedModel:
    """Load a folder, a hub id, or a GGUF file. Raises ModelError or MissingExtraError, in one sentence.

    merge: add the adapter to the weights; None does so unless they are quantised (see `add_adapter`).
    """
    where = pick_device(device)
    if where.type == "cpu":  # torch knows of the affinity and of OMP_NUM_THREADS, but not of quotas
        torch.set_num_threads(min(torch.get_num_threads(), usable_threads()))
    if quantize is not None and quantize not in ("4bit", "8bit"):
        raise ModelError(f"--quantize is {quantize!r}, but it must be '4bit' or '8bit'")
    if quantize is not None:
        if is_gguf(name):
            raise ModelError(f"{name}: a GGUF file cannot be loaded with --quantize; it is dequantised")
        require("bitsandbytes", "quantize")
    if adapter is not None:
        require("peft", "transformers")
        check_adapter(adapter)
    config, tokenizer = load_tokenizer(name, adapter=adapter, trust_remote_code=trust_remote_code)
    precision = pick_precision(dtype, config, where)
    with quiet(), explained(name):
        model = _load_weights(name, config, precision, quantize, where, trust_remote_code)
    if adapter is not None:
        if merge is None and getattr(model, "is_quantized", False):  # by us, or on the disk already
            merge = False
        model = add_adapter(model, adapter, len(tokenizer), merge=merge)
    model.eval()
    model.requires_grad_(False)
    return LoadedModel(
        name, adapter, model, tokenizer, config, where, quantize or str(precision).split(".")[-1]
    )


def load_tokenizer(
    name: str, *, adapter: str | None = None, trust_remote_code: bool = False
) -> tuple[Any, Any]:
    """Configuration and tokenizer of a causal language model, without its weights. Raises ModelError."""
    if is_gguf(name):
        return load_config(name), GgufTokenizer(name)
    check_folder(name)
    with quiet(), explained(name):
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code)
    check_architecture(name, config)
    with quiet(), explained(name):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            tokenizer_folder(name, adapter), trust_remote_code=trust_remote_code
        )
    return config, tokenizer


def configured_stops(name: str, config: Any) -> list[int]:
    """End tokens from the model's configuration and its generation configuration: one, several or none."""
    configs = [config]
    with quiet(), suppress(OSError):  # not every model has one
        configs.append(transformers.GenerationConfig.from_pretrained(name))
    found: list[int] = []
    for each in configs:
        ids = getattr(each, "eos_token_id", None)
        found += ids if isinstance(ids, list) else [] if ids is None else [ids]
    return found


def pick_device(device: str) -> torch.device:
    """auto: the first graphics card, if there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"device is {device!r}, but torch {torch.__version__} finds no CUDA device")
    try:
        return torch.device(device)
    except RuntimeError:
        raise ModelError(f"device is {device!r}, but it must be 'auto', 'cpu' or 'cuda'") from None


def pick_precision(dtype: str, config: Any, device: torch.device) -> torch.dtype:
    """auto: the precision of the checkpoint on a GPU, float32 on the processor.

    Half precisions are slow on most processors, and their rounding turns near ties into ties.
    """
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else getattr(config, "dtype", None) or torch.bfloat16
    found = getattr(torch, dtype, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ModelError(f"dtype is {dtype!r}, but it must be 'auto', 'float32', 'bfloat16' or 'float16'")
    return found


def require(package: str, extra: str) -> None:
    """Raise MissingExtraError unless the package is installed."""
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(package, extra)


def check_folder(name: str) -> None:
    """Raise ModelError for a local path that is not a model in safetensors, saying what is wrong with it."""
    folder = Path(name)
    if folder.exists():
        require_content(folder, ModelError)
    if folder.is_file() or folder.suffix.lower() == ".gguf":
        problem = "neither a GGUF file nor a model folder" if folder.is_file() else "no such model file"
        raise ModelError(f"{name}: {problem}")
    if not folder.is_dir():
        return  # a hub id
    if not (folder / "config.json").exists():
        if (folder / "adapter_config.json").exists():
            raise ModelError(
                f"{name}: an adapter, not a model; load its base model and pass this folder as --adapter"
            )
        raise ModelError(f"{name}: not a model folder (no config.json)")
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        if pickles:
            raise ModelError(
                f"{name}: the weights are a pickle ({pickles[0]}), which can run code when it is read; "
                "save them as safetensors"
            )
        raise ModelError(f"{name}: no weights (*.safetensors) in the model folder")


def check_architecture(name: str, config: Any) -> None:
    """Raise ModelError for a model that does not write left to right."""
    architectures = getattr(config, "architectures", None) or []
    if config.is_encoder_decoder or (architectures and not any(a.endswith(_WRITERS) for a in architectures)):
        kind = architectures[0] if architectures else config.model_type
        raise ModelError(f"{name}: a {kind} is not a causal language model, so it cannot write an answer")


def _load_weights(
    name: str,
    config: Any,
    precision: torch.dtype,
    quantize: Quantize | None,
    device: torch.device,
    trust_remote_code: bool,
) -> Any:
    options: dict[str, Any] = {}
    if quantize is not None:
        options["quantization_config"] = _quantization(quantize, precision)
    if device.type != "cpu":
        options["device_map"] = {"": device}
    auto: Any = transformers.AutoModelForCausalLM
    if is_gguf(name):
        model, report = load_dequantised(name, config, precision, device)
    else:
        model, report = auto.from_pretrained(
            name,
            config=config,
            dtype=precision,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
            **options,
        )
    missing = sorted(report["missing_keys"])
    if missing:  # transformers would fill in random numbers
        raise ModelError(
            f"{name}: {len(missing)} tensors are missing from the weights, for instance {missing[0]}"
        )
    return model


def _quantization(quantize: Quantize, precision: torch.dtype) -> Any:
    quantization: Any = transformers.BitsAndBytesConfig
    if quantize == "8bit":
        return quantization(load_in_8bit=True)
    return quantization(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=precision,
    )
