"""File formats, one module each, behind one seam (`protocol`).

To add a format, write its module and add a line to the table.
"""

from ..errors import UserError
from .ddi import read_ddi
from .evaluator_lines import read_predictions, write_evaluator_lines
from .mentions import read_mentions, write_mentions
from .protocol import Format, Writer

FORMATS: dict[str, Format] = {
    "ddi": Format(read=read_ddi),
    "evaluator": Format(read_mentions=read_predictions, write=write_evaluator_lines),
    "mentions": Format(read_mentions=read_mentions, write=write_mentions),
}
"""Name -> format."""


def writer_of(name: str) -> Writer:
    """The writer of a format. Raises UserError for a format that cannot be written, naming those that can."""
    write = FORMATS[name].write if name in FORMATS else None
    if write is None:
        known = ", ".join(known for known, format in FORMATS.items() if format.write)
        raise UserError(f"{name!r} is not a format that can be written: choose one of {known}")
    return write
