"""The JSON Schemas in docs/ are those of the code, and say what each field means."""

import importlib.util
import json
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def current() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("write_schemas", DOCS / "write_schemas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    texts: dict[str, str] = module.texts()
    return texts


@pytest.mark.parametrize("name", ["run.schema.json", "mentions.schema.json"])
def test_the_schemas_are_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == current()[name], "run: python docs/write_schemas.py"


@pytest.mark.parametrize("name", ["run.schema.json", "mentions.schema.json"])
def test_every_field_is_described(name: str) -> None:
    properties = json.loads(current()[name])["properties"]
    assert properties
    assert [field for field, about in properties.items() if not about.get("description")] == []
