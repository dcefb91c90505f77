"""What a run may write over: its own results, and nothing that it reads or that someone else wrote."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from ..annotation.settings import Settings
from ..errors import OutputError
from ..files import require_apart, require_writable
from ..formats.documents import READ_IN_FOLDERS
from ..formats.mentions import mentions_path
from .coverage import record_beside
from .journal import journal_path
from .record import RunRecord, record_path


def check_outputs(
    input: Path, output: Path, settings: Settings, *, overwrite: bool, folder: bool = False
) -> None:
    """Raise OutputError if the outputs cannot be written, or would replace what the run reads.

    overwrite: replace files that no run has written, too. folder: whether the output is a folder.
    """
    outputs = (output, mentions_path(output), record_path(output))
    for path in outputs:
        require_writable(path, folder=folder and path == output)
    read = {"the input": input, **dict(_files_read(settings))}
    require_apart((*outputs[1:], journal_path(output)), read, ())
    require_apart([output], read, ("",) if folder else READ_IN_FOLDERS)
    if overwrite or record_beside(output):
        return
    for path in outputs:
        if _has_content(path):
            raise OutputError(
                f"{path}: exists, and no run has written it; choose another name, or pass --overwrite"
            )


def refuse_other_run(output: Path, print_of_run: str) -> None:
    """Raise OutputError if the output holds the result of another run."""
    record = record_beside(output)
    if record and record.fingerprint != print_of_run and os.path.exists(output):
        raise OutputError(
            f"{output}: holds the result of another run, with other settings or sentences (started "
            f"{record.started}); choose another name, or pass --overwrite"
        )


def finished_run(output: Path, print_of_run: str) -> RunRecord | None:
    """The record of a run with this fingerprint, if it has finished and its outputs are there."""
    record = record_beside(output)
    # The record is written first, then mentions and output; then the journal goes.
    in_place = output.exists() and mentions_path(output).exists()
    whole = in_place and not journal_path(output).exists()
    return record if whole and record and record.fingerprint == print_of_run else None


def _files_read(settings: Settings) -> Iterator[tuple[str, str | Path]]:
    """The options that name a file or folder, with it. A model's name may be one, or none."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, (str, Path)) and os.path.exists(value):
            yield f"the file of --{field.name.replace('_', '-')}", value


def _has_content(path: Path) -> bool:
    if os.path.isdir(path):
        return bool(os.listdir(path))
    return os.path.exists(path) and os.path.getsize(path) > 0
