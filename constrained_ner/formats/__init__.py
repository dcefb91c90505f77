"""File formats, one module each, behind one seam (`protocol`). `read_documents` reads any of them.

To add a format, write its module and add a line to the table.
"""

from __future__ import annotations

from ..errors import UserError
from .bioc import read_bioc, recognises_bioc, write_bioc
from .bioc_json import read_bioc_json, recognises_bioc_json, write_bioc_json
from .brat import read_brat, recognises_brat, write_brat
from .conll import OWN_SUFFIXES, read_conll, recognises_conll
from .conll_writer import write_conll
from .ddi import read_ddi_file, recognises_ddi, write_ddi
from .docbin import read_docbin, write_docbin
from .doccano import write_doccano
from .evaluator_lines import read_predictions, write_evaluator_lines
from .genetag import read_genetag, recognises_genetag
from .html_page import read_html, write_html
from .inline import read_inline, write_inline
from .jsonl import read_json, recognises_json, write_jsonl
from .label_studio import write_label_studio
from .mentions import read_mentions, write_mentions
from .protocol import Format
from .pubtator import read_pubtator, recognises_pubtator, write_pubtator
from .tables import read_mention_table, read_table, write_mention_table
from .text import read_text_file

FORMATS: dict[str, Format] = {
    "ddi": Format(
        summary="XML of the DDI corpus",
        suffixes=(".xml",),
        recognises=recognises_ddi,
        in_sentences=True,
        read=read_ddi_file,
        write=write_ddi,
    ),
    "bioc": Format(
        summary="BioC in XML",
        suffixes=(".bioc.xml", ".xml", ".bioc"),
        recognises=recognises_bioc,
        read=read_bioc,
        write=write_bioc,
    ),
    "bioc-json": Format(
        summary="BioC in JSON, and the answers of PubTator3",
        suffixes=(".bioc.json", ".json", ".jsonl"),
        recognises=recognises_bioc_json,
        read=read_bioc_json,
        write=write_bioc_json,
    ),
    "brat": Format(
        summary="BRAT: a folder of texts, each with its annotations (.txt and .ann)",
        suffixes=(".ann", ".a1", ".a2", ".txt"),
        recognises=recognises_brat,
        read=read_brat,
        write_folder=write_brat,
    ),
    "pubtator": Format(
        summary="PubTator: title, abstract and mentions in lines",
        suffixes=(".pubtator", ".txt"),
        recognises=recognises_pubtator,
        read=read_pubtator,
        write=write_pubtator,
    ),
    "inline": Format(
        summary="text with its mentions in tags, a sentence a line",
        suffixes=(".inline", ".simple"),
        in_sentences=True,
        read=read_inline,
        write=write_inline,
    ),
    "genetag": Format(
        summary="GENETAG: tagged words (read only)",
        suffixes=(".txt",),
        recognises=recognises_genetag,
        read=read_genetag,
    ),
    "html": Format(
        summary="a page to look through (write only)",
        suffixes=(".html", ".htm"),
        in_sentences=True,
        read=read_html,
        write=write_html,
    ),
    "lines": Format(
        summary="lines of the DDI evaluator: id|start-end|name|type",
        suffixes=(".out",),
        read_mentions=read_predictions,
        write=write_evaluator_lines,
    ),
    "mentions": Format(
        summary="what a run knows of each mention (JSON lines)",
        suffixes=(".mentions.jsonl",),
        read_mentions=read_mentions,
        write=write_mentions,
    ),
    "jsonl": Format(
        summary="JSON lines: a text with its mentions a line; other tools' JSON is read too",
        suffixes=(".jsonl", ".ndjson", ".json"),
        recognises=recognises_json,
        read=read_json,
        write=write_jsonl,
    ),
    "doccano": Format(summary="JSON lines that doccano imports", read=read_json, write=write_doccano),
    "label-studio": Format(
        summary="a folder with tasks.json and config.xml for Label Studio",
        read=read_json,
        write_folder=write_label_studio,
    ),
    "spacy": Format(
        summary="training files of spaCy (needs the extra spacy)",
        suffixes=(".spacy",),
        read=read_docbin,
        write_bytes=write_docbin,
    ),
    "conll": Format(
        summary="CoNLL: a token a line with its tag",
        suffixes=(*OWN_SUFFIXES, ".tsv", ".txt"),
        recognises=recognises_conll,
        in_sentences=True,
        read=read_conll,
        write=write_conll,
    ),
    "csv": Format(
        summary="a table: texts to read, a row for each mention to write",
        suffixes=(".csv", ".tsv"),
        read=read_table,
        read_mentions=read_mention_table,
        write=write_mention_table,
    ),
    "text": Format(summary="plain text, a document a file", suffixes=(".txt", ".text"), read=read_text_file),
}
"""Name -> format. The first that recognises a file reads it."""


def writable(name: str) -> Format:
    """A format by its name. Raises UserError if it cannot be written, naming those that can."""
    chosen = FORMATS.get(name)
    if chosen is None or not (chosen.write or chosen.write_bytes or chosen.write_folder):
        known = ", ".join(
            known
            for known, format in FORMATS.items()
            if format.write or format.write_bytes or format.write_folder
        )
        raise UserError(f"{name!r} is not a format that can be written: choose one of {known}")
    return chosen
