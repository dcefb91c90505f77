"""Every file that docs/files.md shows is read as it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from constrained_ner.formats.ddi import read_ddi
from constrained_ner.formats.evaluator_lines import read_predictions
from constrained_ner.formats.mentions import read_mentions
from constrained_ner.formats.name_lines import read_names
from constrained_ner.prompting.examples.fixed import read_picked
from constrained_ner.prompting.wording import PromptFile
from constrained_ner.runs.record import RunRecord
from constrained_ner.schema import Schema

PAGE = Path(__file__).parents[1] / "docs" / "files.md"


@pytest.fixture
def shown(tmp_path: Path) -> dict[str, Path]:
    """Title of the section and kind of the block -> a file with what it shows."""
    files: dict[str, Path] = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title = re.split(r" \(|\n", section)[0]
        for kind, content in re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL):
            path = tmp_path / f"{len(files)}.{kind}"
            path.write_text(content, encoding="utf-8")
            files[f"{title}, {kind}"] = path
    return files


def test_every_file_can_be_read_and_they_agree(shown: dict[str, Path]) -> None:
    sentences = [
        sentence for document in read_ddi(shown.pop("Input and examples, xml")) for sentence in document
    ]
    gold = [(s.id, m.spans, m.text, m.type) for s in sentences for m in s.mentions]
    assert [name for *_, name, _ in gold] == ["Aspirin", "MPTP"]
    results = read_predictions(shown.pop("Results, lines"))
    mentions = read_mentions(shown.pop("Mentions, jsonl"))
    for found in (results, mentions):
        assert [(name, m.spans, m.text, m.type) for name, m in found] == gold
    schema = Schema.load(shown.pop("Entity types, json"))
    assert schema.type_names == ("Drug", "Adverse Drug Event")
    yaml = shown.pop("Entity types, yaml")
    assert PromptFile.load(shown.pop("Prompt, json")).usrprompt == ("{sentence}",)
    assert [name for _, name in read_picked(shown.pop("Chosen examples, ids"))] == ["d1.s0", "d1.s1"]
    assert read_names(shown.pop("Likely names, names"))[0] == ("acetylsalicylic acid", "drug")
    record = RunRecord.load(shown.pop("Record, record"))
    assert record.n_mentions == len(gold)
    assert not shown, "a block that nothing reads"
    pytest.importorskip("yaml")
    assert Schema.load(yaml) == schema
