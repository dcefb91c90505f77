"""What is altered: a few small inputs of every format, and real files where they are at hand.

An input is the files of a folder, name -> content; most have one.
"""

# ruff: noqa: E501
from __future__ import annotations

from pathlib import Path

Input = dict[str, bytes]

REAL_FILES = Path(__file__).parents[3] / "shared" / "formats"

_DDI = b"""<?xml version="1.0" encoding="UTF-8"?>
<document id="d1"><sentence id="d1.s0" text="Aspirin and iron or zinc tablets.">
<entity id="d1.s0.e0" charOffset="0-6" type="drug" text="Aspirin"/>
<entity id="d1.s0.e1" charOffset="12-15;25-31" type="group" text="iron tablets"/>
<pair id="d1.s0.p0" e1="d1.s0.e0" e2="d1.s0.e1" ddi="false"/></sentence>
<sentence id="d1.s1" text="No &lt;drug&gt; here.&#xD;&#xA;"/></document>
"""
_BIOC = b"""<?xml version="1.0" encoding="UTF-8"?>
<collection><source>own</source><date>2020</date><key>k</key><document><id>1</id>
<passage><infon key="type">title</infon><offset>0</offset><text>Aspirin.</text>
<annotation id="T1"><infon key="type">drug</infon><location offset="0" length="7"/><text>Aspirin</text></annotation>
</passage><passage><offset>9</offset><sentence><offset>9</offset><text>It helps \xc3\xa9t\xc3\xa9 iron.</text>
<annotation id="T2"><infon key="type">drug</infon><location offset="22" length="4"/><text>iron</text></annotation>
</sentence></passage></document></collection>
"""
_BIOC_JSON = b"""{"source": "own", "date": "2020", "key": "k", "infons": {}, "documents": [{"id": "1", "infons": {},
"passages": [{"offset": 0, "infons": {"type": "title"}, "text": "Aspirin \xf0\x9f\x98\x80 and iron.", "sentences": [],
"annotations": [{"id": "T1", "infons": {"type": "drug"}, "text": "iron",
"locations": [{"offset": 14, "length": 4}]}], "relations": []}], "relations": []}]}
"""
_PUBTATOR = b"""1|t|Aspirin and iron.
1|a|Zinc helps. \xce\xb2-blockers do not.
1\t0\t7\tAspirin\tDrug\tD1
1\t30\t40\t\xce\xb2-blockers\tGroup
1\tCID\tD1\tD2

2|t|Nothing.
2|a|

"""
_CONLL = b"""-DOCSTART- -X- O O

Aspirin NN I-NP B-drug
and CC O O
iron NN B-NP B-group
tablets NNS I-NP I-group
. . O O

"""
_CONLLU = b"""# newdoc id = d1
# text = Aspirin's iron.
1\tAspirin\t_\tSpaceAfter=No|NE=B-drug
2\t's\t_\t_
3\tiron\t_\tSpaceAfter=No|NE=S-group
4\t.\t_\t_

"""
_JSONL = b"""{"id": "a", "text": "Aspirin and iron.", "mentions": [{"start": 0, "end": 7, "text": "Aspirin", "type": "drug", "confidence": 0.5, "provenance": "constrained"}]}
{"id": "b", "text": "Iron or zinc tablets \xf0\x9f\x98\x80 zinc", "mentions": [{"start": 0, "end": 20, "spans": [[0, 4], [13, 20]], "text": "Iron tablets", "type": "group"}]}
{"id": "d.s0", "document": "d", "text": "zinc", "mentions": [{"start": 0, "end": 4, "text": "zinc", "type": "drug"}]}
"""
_DOCCANO = b"""{"id": 1, "text": "Aspirin and iron.", "label": [[0, 7, "drug"]]}
{"id": 2, "text": "Zinc.", "entities": [{"id": 1, "label": "drug", "start_offset": 0, "end_offset": 4}], "relations": []}
"""
_PRODIGY = b"""{"text": "Aspirin and iron.", "tokens": [{"text": "Aspirin", "start": 0, "end": 7, "id": 0}, {"text": "and", "start": 8, "end": 11, "id": 1}], "spans": [{"start": 0, "end": 7, "token_start": 0, "token_end": 0, "label": "drug"}], "answer": "accept", "_input_hash": 1}
"""
_LABEL_STUDIO = b"""[{"id": 1, "data": {"text": "Aspirin and iron."}, "annotations": [{"id": 2, "result": [{"id": "r",
"from_name": "label", "to_name": "text", "type": "labels", "value": {"start": 0, "end": 7, "text": "Aspirin",
"labels": ["drug"]}}]}], "predictions": []}]
"""
_PUBANNOTATION = b"""{"text": "Aspirin and iron.", "sourcedb": "x", "sourceid": "1", "denotations": [{"id": "T1", "span": {"begin": 0, "end": 7}, "obj": "drug"}, {"id": "T2", "span": [{"begin": 8, "end": 11}, {"begin": 12, "end": 16}], "obj": "group"}]}
"""
_TUPLES = b"""[["Aspirin and iron.", {"entities": [[0, 7, "drug"]]}], ["Zinc", {"entities": []}]]
"""
_CSV = b'''id,text,label
1,"Aspirin, iron",x
2,"two
lines ""quoted""",y
'''
_MENTION_CSV = b"""id,start,end,text,type,confidence
1,0,7,Aspirin,drug,0.5
1,12,16,iron,group,
"""
_INLINE = b"""Effect of <drug>aspirin</drug> on <group id="T1">beta-blockers &amp; <drug>zinc</drug></group>.
1 &lt; 2
"""
_GENETAG = b"""@@1 The/TAG aspirin/NEWGENE ( /TAG and/TAG iron/NEWGENE1 ./TAG
"""
_TEXT = b"Aspirin and iron.\r\n\r\nZinc\xc2\xa0helps \xce\xb2-blockers.\n"
_BRAT = {
    "a.txt": b"Aspirin and iron or zinc tablets.\nZinc \xf0\x9f\x98\x80 too.\n",
    "a.ann": b"T1\tDrug 0 7\tAspirin\nT2\tGroup 12 16;25 32\tiron tablets\n"
    b"R1\tUses Arg1:T1 Arg2:T2\n#1\tAnnotatorNotes T1\tnote\n*\tEquiv T1 T2\nE1\tUses:T1\nA1\tNeg T1\n",
}
_LINES = b"""d1.s0|0-6|Aspirin|drug
d1.s0|12-15;25-31|iron tablets|group
"""
_MENTIONS = b"""{"sentence": "d1.s0", "start": 0, "end": 7, "text": "Aspirin", "type": "drug", "confidence": 0.98, "provenance": "constrained", "margins": [[-4.1, -5.2], [-6.0]], "sentence_text": "Aspirin and iron."}
"""

OWN: dict[str, list[Input]] = {
    "ddi": [{"a.xml": _DDI}, {"a.xml": _DDI, "b.xml": _DDI.replace(b"d1", b"d2")}],
    "bioc": [{"a.bioc.xml": _BIOC}, {"a.xml": _BIOC}],
    "bioc-json": [{"a.bioc.json": _BIOC_JSON}, {"a.json": _BIOC_JSON}],
    "brat": [_BRAT, {"b.txt": _TEXT, "b.a1": b"T1\tDrug 0 7\tAspirin\n", "b.a2": b"E1\tX:T1\n"}],
    "pubtator": [{"a.pubtator": _PUBTATOR}, {"a.txt": _PUBTATOR}],
    "inline": [{"a.inline": _INLINE}],
    "genetag": [{"a.txt": _GENETAG}],
    "jsonl": [
        {"a.jsonl": _JSONL},
        {"a.jsonl": _DOCCANO},
        {"a.jsonl": _PRODIGY},
        {"a.json": _LABEL_STUDIO},
        {"a.json": _PUBANNOTATION},
        {"a.json": _TUPLES},
    ],
    "conll": [{"a.conll": _CONLL}, {"a.tsv": _CONLL.replace(b" ", b"\t")}, {"a.conllu": _CONLLU}],
    "csv": [{"a.csv": _CSV}, {"a.tsv": _CSV.replace(b",", b"\t")}],
    "text": [{"a.txt": _TEXT}, {"a.txt": _TEXT, "b.txt": _TEXT}],
    "results": [{"a.out": _LINES}, {"a.mentions.jsonl": _MENTIONS}, {"a.csv": _MENTION_CSV}],
}
"""By the format's name; "results" are files of mentions without texts."""


def real_inputs() -> dict[str, list[Input]]:
    """The real files by their kind of format; empty if they are not at hand."""
    inputs: dict[str, list[Input]] = {}
    if not REAL_FILES.is_dir():
        return inputs
    for path in sorted(p for p in REAL_FILES.rglob("*") if p.is_file()):
        kind = path.relative_to(REAL_FILES).parts[0]
        if path.parent == REAL_FILES or (kind == "brat" and path.suffix != ".txt"):
            continue
        beside = sorted(path.parent.glob(path.stem + ".*")) if kind == "brat" else [path]
        inputs.setdefault(f"real {kind}", []).append({file.name: file.read_bytes() for file in beside})
    return inputs
