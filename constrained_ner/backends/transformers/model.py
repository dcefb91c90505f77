"""Loading a causal language model with transformers: safetensors only, adapters, 4 or 8 bits."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...errors import MissingExtraError, ModelError, OutOfMemoryError
from ...files import file_hash

try:
    import torch
    import transformers
except ImportError as error:
    raise MissingExtraError(error.name or "transformers", "transformers") from None

Quantize = Literal["4bit", "8bit"]
_WRITERS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_NO_MEMORY = re.compile(r"(out of|enough|allocate) memory", re.IGNORECASE)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode on its device, with its tokenizer. name: as the user wrote it."""

    name: str
    adapter: str | None
    model: Any
    tokenizer: Any
    config: Any
    device: torch.device
    precision: str

    def identity(self) -> dict[str, str]:
        """What tells these weights from others: a folder's `sha256`, or the hub's `commit`; the adapter's."""
        commit = getattr(self.config, "_commit_hash", None)
        about = {"commit": str(commit)} if commit else {"sha256": hash_of_folder(Path(self.name))}
        if self.adapter is not None and Path(self.adapter).is_dir():
            about["adapter_sha256"] = hash_of_folder(Path(self.adapter))
        return about


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
    """Load a folder or a hub id; ModelError or MissingExtraError, in one sentence, where that fails.

    merge: add the adapter to the weights; None does it unless they are quantised (see `_add_adapter`).
    """
    where = pick_device(device)
    if quantize is not None and quantize not in ("4bit", "8bit"):
        raise ModelError(f"quantize is {quantize!r}, but only '4bit' and '8bit' exist")
    if quantize is not None:
        require("bitsandbytes", "quantize")
    if adapter is not None:
        require("peft", "transformers")
        check_adapter(adapter)
    config, tokenizer = load_tokenizer(name, adapter=adapter, trust_remote_code=trust_remote_code)
    precision = pick_precision(dtype, config, where)
    with quiet(), explained(name):
        model = _load_weights(name, config, precision, quantize, where, trust_remote_code)
    if adapter is not None:
        merged = quantize is None if merge is None else merge
        model = _add_adapter(model, adapter, len(tokenizer), merge=merged)
    model.eval()
    model.requires_grad_(False)
    return LoadedModel(
        name, adapter, model, tokenizer, config, where, quantize or str(precision).split(".")[-1]
    )


def load_tokenizer(
    name: str, *, adapter: str | None = None, trust_remote_code: bool = False
) -> tuple[Any, Any]:
    """Configuration and tokenizer of a causal language model; nothing large is read. Raises ModelError."""
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
    """End tokens of the generation configuration and of the model's, which may be one, several or none."""
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
    """auto: the precision of the checkpoint on a graphics card, float32 on the processor.

    Half precisions are slow on most processors, and their rounding makes near ties into ties.
    """
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else getattr(config, "dtype", None) or torch.bfloat16
    found = getattr(torch, dtype, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ModelError(f"dtype is {dtype!r}, but it must be 'auto', 'float32', 'bfloat16' or 'float16'")
    return found


def require(package: str, extra: str) -> None:
    """MissingExtraError unless the package is installed."""
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(package, extra)


def check_folder(name: str) -> None:
    """Refuse a local path that holds no model in safetensors, saying what is wrong with it."""
    folder = Path(name)
    if folder.is_file():
        raise ModelError(f"{name}: neither a GGUF file nor a model folder")
    if not folder.is_dir():
        return  # a hub id
    if not (folder / "config.json").exists():
        if (folder / "adapter_config.json").exists():
            raise ModelError(
                f"{name}: an adapter, not a model; load its base model and give this as the adapter"
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


def check_adapter(adapter: str) -> None:
    """Refuse a local path that holds no adapter in safetensors."""
    folder = Path(adapter)
    if not folder.exists():
        if adapter.count("/") == 1 and not adapter.startswith((".", "~")):
            return  # a hub id
        raise ModelError(f"{adapter}: no such adapter folder")
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(f"{adapter}: not an adapter folder (no adapter_config.json)")
    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(f"{adapter}: no weights (adapter_model.safetensors) in the adapter folder")


def check_architecture(name: str, config: Any) -> None:
    """Refuse models that do not write left to right."""
    architectures = getattr(config, "architectures", None) or []
    if config.is_encoder_decoder or (architectures and not any(a.endswith(_WRITERS) for a in architectures)):
        kind = architectures[0] if architectures else config.model_type
        raise ModelError(f"{name}: a {kind} is not a causal language model, so it cannot write an answer")


def hash_of_folder(folder: Path) -> str:
    """SHA-256 over names and contents of a model's configuration and weights."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*config.json"), *folder.glob("*.safetensors")]):
        digest.update(f"{path.name}\0{file_hash(path)}\n".encode())
    return digest.hexdigest()


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
    if missing:  # transformers would go on with random numbers in their place
        raise ModelError(f"{name}: the weights lack {len(missing)} tensors, {missing[0]} among them")
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


def _add_adapter(model: Any, adapter: str, n_tokens: int, *, merge: bool) -> Any:
    """merge: add the adapter's product to the weights. A merged model is as fast as its base, and its answers
    are the same but for rounding; in 4 or 8 bits the sum would be rounded to the nearest of 16 or 256 values.
    """
    from peft import PeftModel

    if n_tokens > model.get_input_embeddings().num_embeddings:  # an adapter that came with tokens of its own
        model.resize_token_embeddings(n_tokens)
    with quiet(), explained(adapter):
        adapted = PeftModel.from_pretrained(model, adapter, use_safetensors=True)
    return adapted.merge_and_unload() if merge else adapted.get_base_model()


def tokenizer_folder(name: str, adapter: str | None) -> str:
    """Where the tokenizer is: with the adapter, if it came with one of its own, else with the model."""
    if adapter is not None and (Path(adapter) / "tokenizer.json").is_file():
        return adapter
    return name


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, no reports, no deprecations among libraries; what matters comes as an error."""
    log: Any = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    hub = logging.getLogger("huggingface_hub")  # it tells of each of its retries
    hub_level = hub.level
    hub.setLevel(logging.ERROR)
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        hub.setLevel(hub_level)
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what transformers, the hub and safetensors raise into one sentence."""
    try:
        yield
    except (ModelError, MissingExtraError):
        raise
    except ImportError as error:
        raise ModelError(f"{name}: cannot be loaded: {_first_sentence(error)}") from None
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(f"{name}: out of memory while it is loaded: {first_line(error)}") from None
        text = str(error)
        if "gated" in text.lower():
            reason = "the model is gated: accept its terms on the hub and log in (hf auth login)"
        elif "trust_remote_code" in text:
            reason = "the model brings code of its own, which runs only with trust_remote_code"
        elif isinstance(error, OSError) and not Path(name).exists():
            reason = (
                "no such model on the hub, or the hub cannot be reached and the model is not in its cache"
            )
        else:
            reason = f"cannot be loaded: {_first_sentence(error)}"
        raise ModelError(f"{name}: {reason}") from None


def is_out_of_memory(error: BaseException) -> bool:
    """torch on the processor raises a plain RuntimeError, which its message alone tells apart."""
    known = isinstance(error, (OutOfMemoryError, MemoryError, torch.OutOfMemoryError))
    return known or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None)


def first_line(error: BaseException) -> str:
    """What an error says first; its kind, where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _first_sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
