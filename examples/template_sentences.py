"""Make annotated sentences from templates, as DDI XML: something to fine-tune on without a corpus.

    python examples/template_sentences.py train.xml --n 400 --seed 1
    python examples/template_sentences.py val.xml --n 60 --seed 2 --not-in train.xml

The sentences were made up for this project. They are easy: a few dozen names in a dozen frames.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Collection
from pathlib import Path
from xml.etree import ElementTree

from defusedxml.ElementTree import parse as parse_xml

NAMES = {
    "drug": (
        "aspirin", "warfarin", "digoxin", "ketoconazole", "midazolam", "phenytoin", "rifampin", "lithium",
        "fluoxetine", "cimetidine", "methotrexate", "theophylline", "verapamil", "naproxen", "cyclosporine",
    ),
    "brand": ("Tylenol", "Coumadin", "Zantac", "Lipitor", "Prozac", "Advil", "Valium", "Viagra"),
    "group": (
        "beta-blockers", "NSAIDs", "diuretics", "oral contraceptives", "MAO inhibitors", "antacids",
        "calcium channel blockers", "tricyclic antidepressants",
    ),
    "drug_n": ("MPTP", "picrotoxin", "ibogaine", "norverapamil", "benzo(a)pyrene", "muscimol"),
}  # fmt: skip
FRAMES = (
    "The clearance of {drug} was lower when {drug} was added.",
    "Patients who take {group} should avoid {drug}.",
    "{brand} and other {group} were stopped before surgery.",
    "Rats were given {drug_n} after {drug}.",
    "In vitro, {drug_n} did not displace {drug_n} from the receptor.",
    "{drug}, {drug} and {group} raise the level of {drug}.",
    "A tablet of {brand} holds 50 mg of {drug}.",
    "Neither {group} nor {brand} had any effect on heart rate.",
    "No interaction was found in twelve healthy volunteers.",
    "Caution is advised with {group} (e.g. {drug}).",
    "Doses of {drug} and of {drug_n} were compared in mice.",
    "The study was stopped after two weeks.",
    "Since {brand} contains {drug}, it must not be combined with {group}.",
    "Bleeding was seen in patients on {drug}; none of them took {brand}.",
)


def make_document(n_sentences: int, seed: int, without: Collection[str] = ()) -> ElementTree.Element:
    """Make a `<document>` with that many different sentences, none of which is in `without`."""
    rng = random.Random(seed)
    document = ElementTree.Element("document", id=f"templates.{seed}")
    seen = {*without}
    while len(document) < n_sentences:
        text, entities = _fill(rng)
        if text in seen and entities:  # sentences without a name repeat
            continue
        seen.add(text)
        name = f"templates.{seed}.s{len(document)}"
        sentence = ElementTree.SubElement(document, "sentence", id=name, text=text)
        for number, (start, entity_type, entity) in enumerate(entities):
            offsets = f"{start}-{start + len(entity) - 1}"
            about = {"id": f"{name}.e{number}", "charOffset": offsets, "type": entity_type, "text": entity}
            ElementTree.SubElement(sentence, "entity", about)
    return document


def write(document: ElementTree.Element, path: Path) -> Path:
    """Write a document as an XML file."""
    ElementTree.indent(document)
    ElementTree.ElementTree(document).write(path, encoding="utf-8", xml_declaration=True)
    return path


def texts(path: Path) -> set[str]:
    """Read the sentences of an XML file."""
    return {sentence.attrib["text"] for sentence in parse_xml(path).iter("sentence")}


def _fill(rng: random.Random) -> tuple[str, list[tuple[int, str, str]]]:
    """Fill a random frame. Returns the sentence and its entities: (start, type, text)."""
    text, entities = "", []
    for piece in re.split(r"(\{[a-z_]+\})", rng.choice(FRAMES)):
        kind = piece.strip("{}")
        if piece.startswith("{"):
            name = rng.choice(NAMES[kind])
            name = name[0].upper() + name[1:] if not text else name
            entities.append((len(text), kind, name))
            piece = name
        text += piece
    return text, entities


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make annotated sentences from templates.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--n", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--not-in", type=Path, help="XML file with sentences to avoid")
    options = parser.parse_args()
    known = texts(options.not_in) if options.not_in else ()
    made = write(make_document(options.n, options.seed, known), options.out)
    print(f"{made}: {options.n} sentences")
