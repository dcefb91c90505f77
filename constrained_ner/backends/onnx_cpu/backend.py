"""A GGUF of a common architecture, with or without a LoRA, as a LogitsBackend through ONNX Runtime.

Of the output layer, which is most of the work in a small model with a large vocabulary, it computes only the
rows of the tokens that are watched. The vocabulary, with its tokenizer, is llama.cpp's own.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ..bundled_cpu.backend import GraphBackend
from ..bundled_cpu.graph import onnxruntime
from ..bundled_cpu.model_files import Precision
from ..gguf_file import ADAPTER_KEY, BASE_KEY, GgufFile, parts_of
from ..llamacpp.vocabulary import load_vocabulary
from .decoder import Decoder
from .decoder_shape import INSTEAD
from .lora import Lora


class OnnxBackend(GraphBackend):
    """A GGUF of an architecture in `decoder_shape.FAMILIES`, on the processor. Sequences run one by one.

    threads: one by default.
    context: context length in tokens; None takes the length that the model was trained for.
    batch: sequences whose tokens are held at once. It makes nothing faster and changes no answer.
    precision: int8 is twice as fast, and for models that were tried with it: outliers may ruin others.
    lora: a GGUF LoRA, added to the weights when they are read.

    Raises ModelError, naming the path, for a file that cannot be computed so, MissingExtraError without a
    package that it needs.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        threads: int | None = None,
        context: int | None = None,
        batch: int = 1,
        precision: Precision = "int8",
        lora: str | Path | None = None,
    ) -> None:
        if len(parts_of(Path(path))) > 1:
            raise ModelError(f"{path}: --backend onnx cannot run a model in several files; {INSTEAD}")
        self._file = GgufFile(path)
        self._lora = Lora(lora, self._file) if lora is not None else None
        self._read_metadata()
        self._precision = precision
        self._n_threads = threads or 1
        decoder = Decoder(
            self._file,
            precision,
            lora=self._lora,
            n_threads=self._n_threads,
            context_length=context or int(self._file.of_architecture("context_length", 0)),
        )
        self.context_length = decoder.context_length
        self._rows = decoder.output_rows
        self.vocabulary = load_vocabulary(path)
        super().__init__(self._file.path, decoder, batch)

    def _read_metadata(self) -> None:
        """What the protocol says about the model. The LoRA's temperature was fitted to the two together."""
        if self._lora is not None and ADAPTER_KEY in self._file.metadata:
            raise ModelError(
                f"{self._lora.file.path}: {self._file.path} contains an adapter already; "
                "use the LoRA with its base model"
            )
        adapted = self._file if self._lora is None else self._lora.file
        own = adapted.temperature
        self.temperature = self._file.temperature if own is None else own
        self.chat_template: str | None = self._file.metadata.get("tokenizer.chat_template")
        self.adapter_card: str | None = adapted.metadata.get(ADAPTER_KEY)
        self.base_model: str | None = self._file.metadata.get(BASE_KEY) if self._lora else None

    @cached_property
    def identity(self) -> dict[str, str]:
        about = {
            "backend": "onnx",
            "sha256": self._file.sha256,
            "precision": self._precision,
            "device": "cpu",
        }
        return about if self._lora is None else {**about, "lora_sha256": self._lora.file.sha256}

    @property
    def description(self) -> dict[str, str]:
        about = {
            "backend": "onnx",
            "name": self._file.path.name,
            "path": str(self._file.path),
            **self.identity,
            "device": f"cpu, {self._n_threads} threads",
            "version": f"onnxruntime {onnxruntime.__version__}",
        }
        return about if self._lora is None else {**about, "lora": self._lora.file.path.name}

    def _output_rows(self, ids: list[int]) -> NDArray[np.float32]:
        return self._rows[ids]

    def _all_logits(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._rows.products(hidden)
