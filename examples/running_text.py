from pathlib import Path

import constrained_ner

document = constrained_ner.annotate_document(Path("examples/leaflet.txt").read_text())
print(document)
for mention in document.to_dict()["mentions"][:3]:
    print(mention["start"], mention["end"], mention["text"], mention["type"])
