"""Exports a transformers model, an adapter merged into it, or an adapter by itself, to a GGUF file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gguf import GGML_QUANT_VERSION, GGUFReader, GGUFType, GGUFWriter, Keys
from numpy.typing import NDArray

from ..adapters import BaseModelIdentity
from ..backends.gguf_file import ADAPTER_KEY, BASE_KEY
from ..backends.temperature import TEMPERATURE_KEY, stored_temperature
from ..backends.transformers.gguf_base import is_gguf
from ..backends.transformers.vocabulary import template_of, vocabulary_of_tokenizer
from ..errors import ModelError
from .checkpoint import Checkpoint
from .families import Family, add_metadata, context_length, family_of, rotation_factors
from .gguf import Precision, Tensor, file_type, write_tensors, written_whole
from .lora import LoraAdapter
from .quantise import SmallType, quantise
from .tokenizer import add_tokenizer, known_texts
from .verify import check_model

ModelType = Literal["f32", "f16", "bf16", "q8_0", "q4_k_m"]
_EMBEDDINGS, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_METADATA_BYTES = 64 << 20  # room for a vocabulary
_SMALL_SHARE = 0.4  # size of a Q4_K_M relative to float16, at most

OnTensor = Callable[[int, int], None]


def _ignore(_n_done: int, _n_total: int) -> None:
    """No-op callback."""


@dataclass(frozen=True)
class Exported:
    """What was written. kinds: type -> number of tensors. notes: what the user should know about it."""

    path: Path
    architecture: str
    kinds: dict[str, int]
    notes: tuple[str, ...]


def export_model(
    model: str,
    out: Path,
    *,
    adapter: str | None = None,
    type: ModelType = "f16",
    threads: int | None = None,
    force: bool = False,
    on_tensor: OnTensor = _ignore,
) -> Exported:
    """Write a model as one GGUF file, with an adapter merged into it in float32.

    model, adapter: folders or hub ids, in safetensors. on_tensor: called with (number written, total).
    force: merge the adapter even if it was trained on another model.
    The file is kept only if llama.cpp reads the same token ids from it as the model's tokenizer.
    Raises UserError and leaves no file behind if anything fails.
    """
    checkpoint = Checkpoint.open(model)
    if is_gguf(model):
        raise ModelError(f"{model}: a GGUF file already; for an adapter of it, use --lora-only")
    config = checkpoint.config
    family = family_of(model, config, out)
    lora = _adapter_of(checkpoint, adapter, force) if adapter is not None else None
    tensors = _model_tensors(checkpoint, family, lora)
    n_rows = _embedding_rows(tensors)
    tokenizer = checkpoint.load_tokenizer(lora.tokenizer_folder() if lora else None)
    vocabulary = vocabulary_of_tokenizer(tokenizer, n_tokens=n_rows, stop_ids=checkpoint.stop_ids())
    precision: Precision = "f16" if type == "q4_k_m" else type

    writer = GGUFWriter(None, family.name)
    writer.add_type(GGUFType.MODEL)
    writer.add_name(_name(model, adapter))
    writer.add_file_type(file_type(precision))
    writer.add_quantization_version(GGML_QUANT_VERSION)
    add_metadata(writer, family, config, n_tokens=n_rows)
    add_tokenizer(writer, tokenizer, vocabulary, getattr(config, "bos_token_id", None))
    _add_training(writer, lora, checkpoint)
    if lora is None:
        writer.add_string(BASE_KEY, BaseModelIdentity(**checkpoint.identity()).model_dump_json())
    n_bytes = sum(tensor.n_bytes(precision) for tensor in tensors) + _METADATA_BYTES
    if type == "q4_k_m":
        n_bytes += int(_SMALL_SHARE * n_bytes)
    with written_whole(out, n_bytes) as partial:
        if type == "q4_k_m":
            _write_small(writer, tensors, partial, type, threads, on_tensor)
        else:
            write_tensors(writer, tensors, partial, precision, on_tensor)
        texts = known_texts(tokenizer, vocabulary.control_ids)
        notes = [*_notes(family, config), *check_model(partial, vocabulary, template_of(tokenizer), texts)]
    return Exported(out, family.name, _kinds(out), tuple(notes))


def export_lora(
    model: str,
    adapter: str,
    out: Path,
    *,
    type: Precision = "f32",
    force: bool = False,
    on_tensor: OnTensor = _ignore,
) -> Exported:
    """Write an adapter as a GGUF LoRA, which llama.cpp can add to any GGUF of the same base model.

    model: the base; only its configuration is read, not its weights. force: as in `export_model`.
    Raises UserError.
    """
    checkpoint = Checkpoint.open(model)
    family = family_of(model, checkpoint.config, out)
    lora = _adapter_of(checkpoint, adapter, force)
    lora.check_fits(checkpoint.shapes, tied=checkpoint.config.tie_word_embeddings)
    replaced = next(_replaced_weights(lora, checkpoint), None)
    if replaced is not None:
        raise ModelError(
            f"{adapter}: replaces {replaced}, which a GGUF LoRA cannot do; export the merged model instead"
        )
    tensors = _lora_tensors(checkpoint, family, lora)
    writer = GGUFWriter(None, family.name)
    writer.add_type(GGUFType.ADAPTER)
    writer.add_name(_name(model, adapter))
    writer.add_string(Keys.Adapter.TYPE, "lora")
    writer.add_float32(Keys.Adapter.LORA_ALPHA, lora.alpha)
    writer.add_file_type(file_type(type))
    _add_training(writer, lora)
    with written_whole(out, sum(tensor.n_bytes(type) for tensor in tensors) + (1 << 20)) as partial:
        write_tensors(writer, tensors, partial, type, on_tensor)
    return Exported(out, family.name, _kinds(out), ())


def _adapter_of(base: Checkpoint, adapter: str, force: bool) -> LoraAdapter:
    lora = LoraAdapter(adapter)
    if lora.card and not force:
        lora.card.require_base(adapter, base.identity())
    return lora


def _replaced_weights(lora: LoraAdapter, base: Checkpoint) -> Iterator[str]:
    """Yield the weights that the adapter really replaces; peft also saves some that are unchanged."""
    for name in lora.replaced:
        if name not in base.weights or not np.array_equal(lora.replacement(name), base.weights.read(name)):
            yield name


def _add_training(writer: GGUFWriter, lora: LoraAdapter | None, base: Checkpoint | None = None) -> None:
    """Add what the adapter was trained for, and the temperature that calibrates its confidence."""
    card = lora.card if lora else None
    if card is not None:
        writer.add_string(ADAPTER_KEY, card.model_dump_json())
    temperature = stored_temperature(*(part.folder for part in (lora, base) if part))
    if temperature is not None:
        writer.add_float32(TEMPERATURE_KEY, temperature)


def _model_tensors(checkpoint: Checkpoint, family: Family, lora: LoraAdapter | None) -> list[Tensor]:
    """List all tensors of the file, in the model's order, without reading any."""
    config, shapes = checkpoint.config, dict(checkpoint.shapes)
    replaced = set(lora.replaced) if lora else set()
    if lora:
        lora.check_fits(shapes, tied=config.tie_word_embeddings)
        shapes |= {name: lora.replacement_shape(name) for name in replaced}
    stored = {name: name for name in shapes}
    if config.tie_word_embeddings:
        if replaced.isdisjoint((_EMBEDDINGS, _HEAD)):
            del shapes[_HEAD]
        else:  # peft's copy is no longer tied; the other one keeps the base model's weights
            stored[_HEAD] = _EMBEDDINGS
    missing = sorted(n for n in shapes if n not in replaced and stored[n] not in checkpoint.weights)
    if missing:
        raise ModelError(
            f"{checkpoint.name}: {len(missing)} tensors are missing from the weights, including {missing[0]}"
        )
    if _HEAD in shapes and shapes[_HEAD] != shapes[_EMBEDDINGS]:
        raise ModelError(
            f"{checkpoint.name}: {shapes[_EMBEDDINGS][0]} embeddings, but {shapes[_HEAD][0]} outputs"
        )

    def reader(name: str) -> Callable[[], NDArray[np.float32]]:
        def read() -> NDArray[np.float32]:
            if lora and name in replaced:
                weights = lora.replacement(name)
            else:
                weights = checkpoint.weights.read(stored[name])
            if weights.shape != shapes[name]:
                raise ModelError(
                    f"{checkpoint.name}: {name} has the shape {weights.shape}, but the configuration "
                    f"says {shapes[name]}"
                )
            if lora and name in lora.adapted:
                weights = weights + lora.product(name).value
            return family.arrange(name, weights, config)

        return read

    n_layers = config.num_hidden_layers
    tensors = [
        Tensor(family.gguf_name(name, n_layers), shape, reader(name)) for name, shape in shapes.items()
    ]
    factors = rotation_factors(config)
    if factors is not None:
        tensors.append(Tensor("rope_freqs.weight", factors.shape, lambda: factors))
    return tensors


def _lora_tensors(checkpoint: Checkpoint, family: Family, lora: LoraAdapter) -> list[Tensor]:
    """List both factors of every product. llama.cpp scales by alpha / rank; any other scale goes into B."""
    config, shapes = checkpoint.config, checkpoint.shapes
    tensors: list[Tensor] = []
    for name in lora.adapted:
        n_out, n_in = shapes[name]
        rank = lora.rank(name)

        def read_a(name: str = name) -> NDArray[np.float32]:
            return lora.product(name).a

        def read_b(name: str = name, rank: int = rank) -> NDArray[np.float32]:
            product = lora.product(name)
            factor = product.scale * rank / lora.alpha
            return family.arrange(name, product.b * np.float32(factor), config)

        written = family.gguf_name(name, config.num_hidden_layers)
        tensors.append(Tensor(f"{written}.lora_a", (rank, n_in), read_a))
        tensors.append(Tensor(f"{written}.lora_b", (n_out, rank), read_b))
    return tensors


def _write_small(
    writer: GGUFWriter,
    tensors: Sequence[Tensor],
    path: Path,
    type: SmallType,
    threads: int | None,
    on_tensor: OnTensor,
) -> None:
    """Quantise by way of a float16 file beside it, whose rounding is negligible next to that of four bits."""
    wide = path.with_name(path.name + ".f16")
    try:
        write_tensors(writer, tensors, wide, "f16", on_tensor)
        quantise(wide, path, type, threads=threads)
    finally:
        wide.unlink(missing_ok=True)


def _embedding_rows(tensors: Sequence[Tensor]) -> int:
    return next(tensor.shape[0] for tensor in tensors if tensor.name == "token_embd.weight")


def _name(model: str, adapter: str | None) -> str:
    return " + ".join(Path(part).name for part in (model, adapter) if part)


def _kinds(path: Path) -> dict[str, int]:
    return dict(Counter(tensor.tensor_type.name for tensor in GGUFReader(path).tensors).most_common())


def _notes(family: Family, config: Any) -> list[str]:
    length, trained = context_length(family, config), config.max_position_embeddings
    if length == trained:
        return []
    return [
        f"llama.cpp's {family.name} has no sliding window, so the context is limited to the window: "
        f"{length} tokens instead of {trained}"
    ]
