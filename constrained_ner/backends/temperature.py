"""The temperature stored with a model, so that everyone who loads it gets calibrated confidences.

A GGUF file has it in its metadata, as `constrained_ner.temperature` (float32), with the hashes of the file
before it was stored: they say that it is still the model that an earlier run used. A folder of transformers,
or of an adapter, has a file `calibration.json`: {"temperature": 1.3}. A model without either is not
calibrated.
"""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError, ModelError
from ..files import (
    file_hash,
    hash_of_folder,
    output_errors,
    reason,
    require_content,
    require_writable,
    write_atomically,
)

TEMPERATURE_KEY = "constrained_ner.temperature"
_IN_PARTS = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
EARLIER_KEY = "constrained_ner.sha256_before_calibration"
"""Metadata: hashes of the whole file before each change of its temperature, separated by commas."""
CALIBRATION_FILE = "calibration.json"


def checked_temperature(value: object, place: str | Path) -> float:
    """The value as a temperature. Raises ModelError, naming the place, if it is not a number above 0."""
    try:
        temperature = float(str(value))
    except ValueError:
        temperature = math.nan
    if not 0 < temperature < math.inf:
        raise ModelError(f"{place}: a temperature of {value!r:.40}, which is not a number above 0")
    return temperature


def stored_temperature(*folders: str | Path | None) -> float | None:
    """The temperature in the first of the folders that has one, None if none has. Raises ModelError."""
    for folder in folders:
        path = Path(folder or "") / CALIBRATION_FILE
        if folder is None or not path.is_file():
            continue
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: cannot be read: {reason(error)}") from None
        return checked_temperature(content.get("temperature") if isinstance(content, dict) else content, path)
    return None


def store_temperature(model: str | Path, temperature: float) -> Path:
    """Store a temperature in a GGUF file, or in a folder of transformers or of an adapter; returns the file.

    A GGUF file is written to a new file, which replaces the old one when it is complete. Raises ModelError,
    OutputError, and MissingExtraError if that needs the package gguf.
    """
    path = Path(model)
    checked_temperature(temperature, path)
    if path.is_dir():
        path /= CALIBRATION_FILE
        require_writable(path)
        write_atomically(path, [json.dumps({"temperature": temperature}), "\n"])
    elif _IN_PARTS.search(path.name):
        raise ModelError(f"{path}: a model in several files: join them with gguf-split --merge first")
    elif path.is_file():
        require_writable(path)
        _rewrite_gguf(path, temperature)
    else:
        raise ModelError(f"{model}: neither a GGUF file nor a folder: a temperature cannot be stored with it")
    return path


def hashes_of_model(model: str | Path) -> set[str]:
    """The hashes under which a run may have recorded a GGUF file, a model folder or an adapter folder.

    Raises ModelError and InputError for what is none.
    """
    path = Path(model)
    if path.is_dir():
        return {hash_of_folder(path)}
    return {file_hash(path), *_earlier_hashes(_open_gguf(path))}


def _earlier_hashes(reader: Any) -> list[str]:
    field = reader.get_field(EARLIER_KEY)
    return str(field.contents()).split(",") if field else []


def _open_gguf(path: Path) -> Any:
    require_content(path, ModelError)
    try:
        import gguf
    except ImportError:
        raise MissingExtraError("gguf", "train") from None
    try:
        return gguf.GGUFReader(path)
    except (ValueError, IndexError) as error:
        raise ModelError(f"{path}: not a GGUF file: {error}") from None


def _rewrite_gguf(path: Path, temperature: float) -> None:
    """Copy every other key and all tensors unchanged, as gguf's own `gguf_new_metadata.py` does."""
    reader = _open_gguf(path)
    import gguf

    architecture = reader.get_field(gguf.Keys.General.ARCHITECTURE)
    if architecture is None:
        raise ModelError(f"{path}: the GGUF file does not say what model it is")
    part = path.with_name(path.name + ".part")
    writer = gguf.GGUFWriter(part, arch=architecture.contents(), endianess=reader.endianess)
    try:
        with output_errors(path):
            try:
                _copy(reader, writer, temperature, [*_earlier_hashes(reader), file_hash(path)])
            finally:
                writer.close()
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _copy(reader: Any, writer: Any, temperature: float, earlier_hashes: list[str]) -> None:
    import gguf

    alignment = reader.get_field(gguf.Keys.General.ALIGNMENT)
    if alignment is not None:
        writer.data_alignment = alignment.contents()
    for field in reader.fields.values():
        # The writer itself writes the architecture and the header.
        own = (gguf.Keys.General.ARCHITECTURE, TEMPERATURE_KEY, EARLIER_KEY)
        if field.name in own or field.name.startswith("GGUF."):
            continue
        inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
    writer.add_float32(TEMPERATURE_KEY, temperature)
    writer.add_string(EARLIER_KEY, ",".join(earlier_hashes))
    for tensor in reader.tensors:
        data = tensor.data
        writer.add_tensor_info(tensor.name, data.shape, data.dtype, data.nbytes, tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in reader.tensors:
        writer.write_tensor_data(tensor.data, tensor_endianess=reader.endianess)
