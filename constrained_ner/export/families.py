"""The model families that can be exported: what each is called in GGUF, and how its weights are arranged.

Tensor names come from the package `gguf`. Metadata and row order follow llama.cpp's own
`convert_hf_to_gguf.py`. Whatever llama.cpp would compute differently from transformers is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, GGUFWriter, RopeScalingType, get_tensor_name_map
from numpy.typing import NDArray

from ..errors import ModelError

CONVERTER_HINT = (
    "llama.cpp's own converter may support it: python convert_hf_to_gguf.py {folder} --outfile {out}"
)
_SUFFIXES = (".weight", ".bias")


@dataclass(frozen=True)
class Family:
    """How to describe one kind of model to llama.cpp.

    paired_rotation: llama.cpp rotates neighbouring pairs of rows in q and k; transformers rotates halves.
    shifted_norms: transformers stores the norms' weights minus one.
    windowed: llama.cpp supports the sliding window. If not, the context is limited to the window.
    biased: llama.cpp reads attention biases.
    add_extras: adds metadata of this family only; raises ModelError for what llama.cpp does not support.
    """

    architecture: MODEL_ARCH
    activation: str
    paired_rotation: bool = False
    shifted_norms: bool = False
    windowed: bool = False
    biased: bool = False
    add_extras: Callable[[GGUFWriter, Any], None] | None = None

    @property
    def name(self) -> str:
        """Example: "llama"."""
        return str(MODEL_ARCH_NAMES[self.architecture])

    def gguf_name(self, name: str, n_layers: int) -> str:
        """Translate `model.layers.3.mlp.up_proj.weight` to `blk.3.ffn_up.weight`. Raises ModelError."""
        found = _tensor_names(self.architecture, n_layers).get_name(name, try_suffixes=_SUFFIXES)
        if found is None:
            raise ModelError(f"llama.cpp's {self.name} has no tensor for {name}")
        return str(found)

    def arrange(self, name: str, weights: NDArray[np.float32], config: Any) -> NDArray[np.float32]:
        """Arrange a weight, or the second factor of its LoRA, for llama.cpp; the shape is unchanged."""
        if self.shifted_norms and name.endswith("norm.weight"):
            shifted: NDArray[np.float32] = weights + np.float32(1)
            return shifted
        if self.paired_rotation and ".q_proj." in name:
            return permuted(weights, config.num_attention_heads)
        if self.paired_rotation and ".k_proj." in name:
            return permuted(weights, config.num_key_value_heads)
        return weights


_tensor_names = lru_cache(get_tensor_name_map)


def permuted(weights: NDArray[Any], n_heads: int) -> NDArray[Any]:
    """Reorder rows of q or k from the halves that transformers rotates to the pairs that llama.cpp rotates.

    Shape: (n_heads * head size, ...) in and out. Source: LlamaModel.permute in llama.cpp's converter.
    """
    halves = weights.reshape(n_heads, 2, weights.shape[0] // n_heads // 2, -1)
    pairs: NDArray[Any] = halves.swapaxes(1, 2).reshape(weights.shape)
    return pairs


def family_of(name: str, config: Any, out: object) -> Family:
    """Find the family of a model. Raises ModelError, with `name` and a hint, if it cannot be exported."""
    family = FAMILIES.get(config.model_type)
    if family is None:
        hint = CONVERTER_HINT.format(folder=name, out=out)
        raise ModelError(f"{name}: {config.model_type} models cannot be exported here; {hint}")
    for reason in _obstacles(family, config):
        raise ModelError(f"{name}: {reason}, which llama.cpp's {family.name} does not support")
    return family


def add_metadata(writer: GGUFWriter, family: Family, config: Any, *, n_tokens: int) -> None:
    """Add sizes, attention and rotation. n_tokens: rows of the embeddings (an adapter may change them)."""
    head_size = _head_size(config)
    writer.add_vocab_size(n_tokens)
    writer.add_context_length(context_length(family, config))
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head_size)
    _add_rotation(writer, _rotation(config))
    if family.add_extras:
        family.add_extras(writer, config)


def context_length(family: Family, config: Any) -> int:
    """Return the trained length, limited to the sliding window if llama.cpp does not support one."""
    trained, window = int(config.max_position_embeddings), _window(config)
    return trained if family.windowed or window is None else min(trained, window)


def rotation_factors(config: Any) -> NDArray[np.float32] | None:
    """Return the divisors of Llama 3 for the frequency of each pair of rows; None for other models.

    Shape: (head size / 2,). llama.cpp reads it from the tensor `rope_freqs.weight`.
    """
    rotation = _rotation(config)
    if rotation["rope_type"] != "llama3":
        return None
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    head_size = _head_size(config)
    plain = rotation["rope_theta"] ** -(np.arange(0, head_size, 2, dtype=np.float64) / head_size)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, device="cpu")
    factors: NDArray[np.float32] = (plain / scaled.double().numpy()).astype(np.float32)
    return factors


# ---- reading a configuration


def _head_size(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _window(config: Any) -> int | None:
    """Return the sliding window, None if every layer sees everything."""
    window = getattr(config, "sliding_window", None)
    layers = getattr(config, "layer_types", None)
    if window is None or (layers is not None and "sliding_attention" not in layers):
        return None
    return int(window)


def _rotation(config: Any) -> dict[str, Any]:
    """Return the parameters of the rotation; of the layers with full attention if there are two kinds."""
    parameters: dict[str, Any] = config.rope_parameters
    of_full: dict[str, Any] = parameters.get("full_attention", parameters)
    return of_full


def _obstacles(family: Family, config: Any) -> Iterator[str]:
    activation = getattr(config, "hidden_activation", None) or config.hidden_act
    if activation != family.activation:
        yield f"its activation is {activation}"
    if getattr(config, "attention_bias", False) and not family.biased:
        yield "its attention has biases"
    if getattr(config, "use_bidirectional_attention", False):
        yield "its attention is bidirectional"
    if getattr(config, "quantization_config", None) is not None:
        yield "its weights are already quantised (export the original ones)"
    rotation = _rotation(config)
    kind = rotation["rope_type"]
    if kind not in ("default", "linear", "yarn", "llama3"):
        yield f"its rotation is scaled by the method {kind}"
    if rotation.get("partial_rotary_factor", 1.0) != 1.0:
        yield "it rotates only a part of each head"
    if kind == "yarn":
        for setting in ("attention_factor", "mscale", "mscale_all_dim", "beta_fast", "beta_slow", "truncate"):
            if rotation.get(setting) is not None:
                yield f"its rotation (yarn) sets {setting}"


def _add_rotation(writer: GGUFWriter, rotation: dict[str, Any]) -> None:
    """Add the rotation, except for that of Llama 3, which is a tensor (see `rotation_factors`)."""
    writer.add_rope_freq_base(float(rotation["rope_theta"]))
    if rotation["rope_type"] == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rotation["factor"]))
    if rotation["rope_type"] == "yarn":
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(float(rotation["factor"]))
        writer.add_rope_scaling_orig_ctx_len(int(rotation["original_max_position_embeddings"]))


# ---- extras of some families


def _add_gemma2(writer: GGUFWriter, config: Any) -> None:
    _check_windows(config, every=2)
    _check_scale(config, n_layers_of_largest=46)
    if config.attn_logit_softcapping is None or config.final_logit_softcapping is None:
        raise ModelError("a Gemma 2 without soft caps, which llama.cpp's gemma2 does not support")
    writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    writer.add_final_logit_softcapping(config.final_logit_softcapping)
    writer.add_sliding_window(config.sliding_window)


def _add_gemma3(writer: GGUFWriter, config: Any) -> None:
    _check_windows(config, every=6)
    _check_scale(config, n_layers_of_largest=62)
    if config.attn_logit_softcapping is not None or config.final_logit_softcapping is not None:
        raise ModelError("a Gemma 3 with soft caps, which llama.cpp's gemma3 does not support")
    local = config.rope_parameters["sliding_attention"]
    if local["rope_type"] != "default" or local["rope_theta"] != 10_000:
        raise ModelError(f"a Gemma 3 whose local layers rotate by {local}, which llama.cpp does not support")
    writer.add_sliding_window(config.sliding_window)


def _check_windows(config: Any, *, every: int) -> None:
    """Check for the built-in pattern of llama.cpp: every so many layers, one has full attention."""
    built_in = [
        "full_attention" if layer % every == every - 1 else "sliding_attention"
        for layer in range(config.num_hidden_layers)
    ]
    if list(config.layer_types) != built_in:
        raise ModelError(
            f"a {config.model_type} with sliding windows in other layers than llama.cpp expects "
            f"(all except every {every}th)"
        )


def _check_scale(config: Any, *, n_layers_of_largest: int) -> None:
    """Check the scale of the attention, which llama.cpp infers from depth: the largest model has its own."""
    largest = config.num_hidden_layers == n_layers_of_largest
    expected = config.hidden_size // config.num_attention_heads if largest else _head_size(config)
    if config.query_pre_attn_scalar != expected:
        raise ModelError(
            f"a {config.model_type} with query_pre_attn_scalar {config.query_pre_attn_scalar}, "
            f"but llama.cpp assumes {expected}"
        )


_GELU = "gelu_pytorch_tanh"
FAMILIES = {
    "llama": Family(MODEL_ARCH.LLAMA, "silu", paired_rotation=True, biased=True),
    "mistral": Family(MODEL_ARCH.LLAMA, "silu", paired_rotation=True),
    "qwen2": Family(MODEL_ARCH.QWEN2, "silu", biased=True),
    "qwen3": Family(MODEL_ARCH.QWEN3, "silu"),
    "gemma": Family(MODEL_ARCH.GEMMA, _GELU, shifted_norms=True),
    "gemma2": Family(MODEL_ARCH.GEMMA2, _GELU, shifted_norms=True, windowed=True, add_extras=_add_gemma2),
    "gemma3_text": Family(
        MODEL_ARCH.GEMMA3, _GELU, shifted_norms=True, windowed=True, add_extras=_add_gemma3
    ),
}
"""`model_type` of transformers -> its family."""
