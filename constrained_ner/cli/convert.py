"""`constrained-ner convert`: from one annotation format to another, without a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..data import Document
from ..errors import OutputError
from ..files import require_apart, require_writable
from ..formats import writable
from ..formats.documents import READ_IN_FOLDERS, read_documents
from ..formats.protocol import Losses
from ..formats.writing import format_by_name, open_output
from ..text.sentences import cut_documents
from .options import (
    ColumnsOption,
    FromOption,
    IdFieldOption,
    SkipBadOption,
    TextFieldOption,
    ToOption,
    TypesOption,
    asked_reading,
    asked_types,
)
from .run import CommandLine, note
from .streams import from_standard_input


def convert(
    input: Annotated[
        Path,
        typer.Argument(metavar="INPUT", help="File or folder of any format; - for a pipe."),
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="File to write; a folder for brat and label-studio.")
    ],
    from_format: FromOption = None,
    to: ToOption = None,
    text_field: TextFieldOption = None,
    id_field: IdFieldOption = None,
    columns: ColumnsOption = None,
    types: TypesOption = None,
    skip_bad: SkipBadOption = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that exist.", rich_help_panel="Files")
    ] = False,
) -> None:
    """Write the texts and mentions of INPUT in another format.

    What OUTPUT's format cannot express is reported.

    \b
    Examples:
      constrained-ner convert corpus/ corpus.jsonl
      constrained-ner convert devel.xml devel --to brat
      constrained-ner convert pubtator.txt gold.conll --types Chemical=drug
    """
    to = to or format_by_name(output)
    form = writable(to)
    is_folder = form.write_folder is not None
    require_writable(output, folder=is_folder)
    require_apart([output], {"the input": input}, ("",) if is_folder else READ_IN_FOLDERS)
    if not overwrite and (any(output.iterdir()) if output.is_dir() else output.exists()):
        raise OutputError(f"{output}: exists; choose another name, or pass --overwrite")
    damaged: list[str] = []

    def report_damaged(message: str) -> None:
        damaged.append(message)
        note(message)

    def skip(path: Path, message: str) -> None:
        report_damaged(message)

    reading = replace(asked_reading(text_field, id_field, columns), report_damaged=report_damaged)
    losses = Losses()
    n_documents = n_mentions = 0

    def counted(documents: Iterable[Document]) -> Iterator[Document]:
        nonlocal n_documents, n_mentions
        for document in documents:
            n_documents += not document.continues
            n_mentions += sum(len(sentence.mentions) for sentence in document)
            yield document

    with from_standard_input(input) as path, open_output(form, output, losses) as write:
        documents = read_documents(
            path,
            format=from_format,
            reading=reading,
            types=asked_types(types),
            on_damaged=skip if skip_bad else None,
        )
        write(counted(cut_documents(documents, keep_mentions=True) if form.in_sentences else documents))
    losses.tell(str(output), to, note)
    print(f"{output}: {n_mentions} mentions in {n_documents} documents ({to})")
    if damaged:
        raise typer.Exit(1)


main = CommandLine(convert)
