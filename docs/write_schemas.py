"""Write the JSON Schemas of what a run writes, from the models in the code:  python docs/write_schemas.py"""

from __future__ import annotations

import json
from pathlib import Path

from constrained_ner.files import write_atomically
from constrained_ner.formats.mentions import MentionRecord
from constrained_ner.runs.record import RunRecord

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMAS = {"run.schema.json": RunRecord, "mentions.schema.json": MentionRecord}


def texts() -> dict[str, str]:
    """File name -> its content."""
    return {
        name: json.dumps(_plain(model.model_json_schema(mode="validation")), indent=2, ensure_ascii=False)
        + "\n"
        for name, model in SCHEMAS.items()
    }


def _plain(schema: dict[str, object]) -> dict[str, object]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


if __name__ == "__main__":
    for name, text in texts().items():
        write_atomically(Path(__file__).parent / name, [text])
