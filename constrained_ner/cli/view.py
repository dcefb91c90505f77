"""`constrained-ner view`: a page to look through an output, against gold or beside another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import OutputError, UserError
from ..experiments.outputs_viewed import view_of_outputs
from ..files import require_apart, require_writable, write_atomically
from ..formats.documents import READ_IN_FOLDERS
from .options import TypesOption, asked_types
from .run import CommandLine, note

_PAGES = (".html", ".htm")


def view(
    outputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="OUT [OTHER]", help="Output of llm-NERC, in any format; two stand side by side."
        ),
    ],
    page: Annotated[Path, typer.Option("--out", "-o", help="Write the page here (.html).")],
    gold: Annotated[
        Path | None,
        typer.Option(
            "--gold", help="Annotated file: show what is right, missed, spurious or of another type."
        ),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(
            "--text", help="The file that was annotated. Default: the one that the run's record names."
        ),
    ] = None,
    types: TypesOption = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Show only the first N texts.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that is there.")] = False,
) -> None:
    """Write a page on which to look through OUT: names in colours, filters, a table of names, errors.

    The page is one file and asks the network for nothing.

    \b
    Examples:
      constrained-ner view out -o page.html
      constrained-ner view devel.out --gold devel.xml -o errors.html
      constrained-ner view constrained.out free.out -o difference.html
    """
    if page.suffix.lower() not in _PAGES:
        raise OutputError(f"{page}: not an HTML file name; end --out in .html")
    if len(outputs) > 2:
        raise UserError(
            f"view shows one output or two, not {len(outputs)}; constrained-ner report compares many"
        )
    require_writable(page)
    for read in (*outputs, gold, text):
        if read is not None:
            require_apart([page], {"what is shown": read}, READ_IN_FOLDERS)
    if page.exists() and not overwrite:
        raise OutputError(f"{page}: exists; choose another name, or pass --overwrite")
    shown = view_of_outputs(outputs, gold, text, types=asked_types(types), limit=limit, notify=note)
    write_atomically(page, shown.html())
    print(f"{page}: {shown.counted}, {sum(name.n for name in shown.names):,} names", file=sys.stderr)


main = CommandLine(view)
