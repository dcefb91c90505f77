"""What the network of a GGUF looks like: sizes from its metadata, and how its architecture differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...errors import ModelError
from ..gguf_file import GgufFile

INSTEAD = "use --backend llamacpp"
_PLAIN_BASE = 10_000.0
_PARTS = (
    *("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output"),
    *("ffn_norm", "ffn_gate", "ffn_up", "ffn_down"),
)
_HEAD_NORMS = ("attn_q_norm", "attn_k_norm")
_POST_NORMS = ("post_attention_norm", "post_ffw_norm")


@dataclass(frozen=True)
class Family:
    """How an architecture differs from the others.

    neighbours: whether neighbouring numbers of a head are rotated together (as llama.cpp stores a Llama), or
        those half a head apart.
    activation: of the gate. head_norms: queries and keys are normalised before they are rotated.
    post_norms: what attention and feed-forward return is normalised, too.
    scaled_rows: embeddings are multiplied by the square root of their size.
    global_every: one layer of so many sees everything, the others a window; 0 if all see everything.
    """

    neighbours: bool = False
    activation: Literal["silu", "gelu"] = "silu"
    head_norms: bool = False
    post_norms: bool = False
    scaled_rows: bool = False
    global_every: int = 0

    @property
    def parts(self) -> tuple[str, ...]:
        """The tensors of a layer."""
        head_norms = _HEAD_NORMS if self.head_norms else ()
        return _PARTS + head_norms + (_POST_NORMS if self.post_norms else ())


FAMILIES: Mapping[str, Family] = {
    "llama": Family(neighbours=True),
    "qwen3": Family(head_norms=True),
    "gemma3": Family(activation="gelu", head_norms=True, post_norms=True, scaled_rows=True, global_every=6),
}
"""Architecture in the metadata -> family."""


@dataclass(frozen=True, order=True)
class Rotation:
    """How a layer turns queries and keys by their position.

    base: of the frequencies. factor: positions are divided by it (linear scaling).
    """

    base: float
    factor: float = 1.0


@dataclass(frozen=True)
class DecoderShape:
    """Sizes and constants of a decoder with rotary positions.

    n_key_heads: heads of keys and values. epsilon: of the norms.
    rotations: one for each layer.
    windows: how many tokens each layer sees, that of its row included; None for all.
    context_length: the length that the model was trained for.
    tied: whether the output layer is the embeddings.
    """

    family: Family
    n_layers: int
    n_heads: int
    n_key_heads: int
    head_size: int
    n_hidden: int
    context_length: int
    epsilon: float
    rotations: tuple[Rotation, ...]
    windows: tuple[int | None, ...]
    tied: bool

    @classmethod
    def of(cls, file: GgufFile) -> DecoderShape:
        """Read it from the metadata. Raises ModelError for a model that the network cannot compute."""
        architecture = str(file.metadata.get("general.architecture"))
        family = FAMILIES.get(architecture)
        if family is None:
            known = ", ".join(FAMILIES)
            raise ModelError(
                f"{file.path}: --backend onnx runs {known}, and this is {architecture}; {INSTEAD}"
            )

        def number(key: str, default: Any = None) -> Any:
            value = file.of_architecture(key, default)
            if not isinstance(value, (int, float)):
                raise ModelError(f"{file.path}: the metadata has no number {architecture}.{key}")
            return value

        n_hidden, n_heads, n_layers = (
            number("embedding_length"),
            number("attention.head_count"),
            number("block_count"),
        )
        rotations, windows = _layers(family, n_layers, number)
        shape = cls(
            family=family,
            n_layers=n_layers,
            n_heads=n_heads,
            n_key_heads=number("attention.head_count_kv", n_heads),
            head_size=number("attention.key_length", n_hidden // n_heads),
            n_hidden=n_hidden,
            context_length=number("context_length"),
            epsilon=number("attention.layer_norm_rms_epsilon"),
            rotations=rotations,
            windows=windows,
            tied="output.weight" not in file.tensor_names,
        )
        shape._require_known(file)
        return shape

    def _require_known(self, file: GgufFile) -> None:
        parts = self.family.parts
        names = {"token_embd.weight", "output_norm.weight", *(() if self.tied else ("output.weight",))}
        names |= {f"blk.{layer}.{part}.weight" for layer in range(self.n_layers) for part in parts}
        refused = None
        if different := sorted(names ^ file.tensor_names):
            missing = different[0] in names
            refused = f"a model {'without' if missing else 'with'} the tensor {different[0]}"
        elif file.of_architecture("rope.dimension_count", self.head_size) != self.head_size:
            refused = "heads that are rotated in part"
        elif (scaling := file.of_architecture("rope.scaling.type", "none")) not in ("none", "linear"):
            refused = f"positions scaled by {scaling}"
        elif any(file.of_architecture(f"{kind}_logit_softcapping") for kind in ("attn", "final")):
            refused = "capped logits"
        if refused:
            raise ModelError(f"{file.path}: --backend onnx cannot run {refused}; {INSTEAD}")


def _layers(
    family: Family, n_layers: int, number: Callable[..., Any]
) -> tuple[tuple[Rotation, ...], tuple[int | None, ...]]:
    """Rotation and window of every layer. Layers with a window have a rotation of their own."""
    rotation = Rotation(number("rope.freq_base", _PLAIN_BASE), number("rope.scaling.factor", 1.0))
    if not family.global_every:
        return (rotation,) * n_layers, (None,) * n_layers
    every = number("attention.sliding_window_pattern", family.global_every)
    local = Rotation(number("rope.freq_base_swa", _PLAIN_BASE)), number("attention.sliding_window")
    layers = [(rotation, None) if layer % every == every - 1 else local for layer in range(n_layers)]
    return tuple(turn for turn, _ in layers), tuple(window for _, window in layers)
