"""Some spoiled files of every format, the same each time. `fuzz_readers.py` runs as many as one likes."""

from __future__ import annotations

import pytest
from fuzz_readers import Campaign
from starting_files import OWN, REAL_FILES, real_inputs

_N_CASES = 25
_REAL = real_inputs()


def _faults(kind: str, inputs: list[dict[str, bytes]]) -> list[str]:
    campaign = Campaign()
    for seed in range(_N_CASES):
        campaign.run(kind, inputs, seed)
    assert sum(campaign.cases.values()) == _N_CASES
    return list(campaign.faults.values())


@pytest.mark.parametrize("kind", OWN)
def test_spoiled_files_are_read_or_refused_in_clear_words_and_written_again(kind: str) -> None:
    assert _faults(kind, OWN[kind]) == []


@pytest.mark.skipif(not _REAL, reason=f"needs the sample files in {REAL_FILES}")
@pytest.mark.parametrize("kind", _REAL or ["none"])
def test_spoiled_real_files_are_too(kind: str) -> None:
    assert _faults(kind, _REAL[kind]) == []


def test_the_same_seed_gives_the_same_case() -> None:
    campaigns = [Campaign(), Campaign()]
    for campaign in campaigns:
        for seed in range(5):
            campaign.run("jsonl", OWN["jsonl"], seed)
    assert campaigns[0].cases == campaigns[1].cases
