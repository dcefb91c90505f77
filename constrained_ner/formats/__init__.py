"""File formats, one module each, behind one seam (`protocol`).

To add a format, write its module and add a line to the table.
"""

from .ddi import read_ddi
from .evaluator_lines import read_predictions, write_evaluator_lines
from .mentions import read_mentions, write_mentions
from .protocol import Format

FORMATS: dict[str, Format] = {
    "ddi": Format(read=read_ddi),
    "evaluator": Format(read_mentions=read_predictions, write=write_evaluator_lines),
    "mentions": Format(read_mentions=read_mentions, write=write_mentions),
}
"""Name -> format."""
