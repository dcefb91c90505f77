"""The annotator behind the package's functions: loaded once, and what it answers."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import constrained_ner
from constrained_ner.annotation.annotator import Annotator
from constrained_ner.annotation.kept import KeptAnnotator
from constrained_ner.errors import ModelError


def test_threads_wait_for_one_and_the_same() -> None:
    loaded: list[object] = []

    def load() -> Any:
        time.sleep(0.05)
        loaded.append(object())
        return loaded[-1]

    kept = KeptAnnotator(load)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: kept.get(), range(16)))
    assert len(loaded) == 1
    assert {id(one) for one in got} == {id(loaded[0])}


def test_a_load_that_fails_is_tried_again() -> None:
    answers: list[Any] = [ModelError("no file"), "annotator"]

    def load() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    kept = KeptAnnotator(load)
    with pytest.raises(ModelError):
        kept.get()
    assert kept.get() == "annotator"  # type: ignore[comparison-overlap]


def test_a_fork_loads_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []

    def load() -> Any:
        loaded.append(object())
        return loaded[-1]

    kept = KeptAnnotator(load)
    first = kept.get()
    monkeypatch.setattr("constrained_ner.annotation.kept.os.getpid", lambda: -1)
    assert kept.get() is not first
    assert len(loaded) == 2


def test_one_line_does_what_a_loaded_annotator_does() -> None:
    text = "Ketoconazole raises midazolam levels. Beta-blockers may hide low blood sugar."
    with Annotator.load() as ner:
        assert constrained_ner.annotate(text) == ner.annotate(text)
        assert constrained_ner.annotate_document(text) == ner.annotate_document(text)
        assert constrained_ner.annotate_document([text]) == ner.annotate_document([text])
        assert list(constrained_ner.annotate_many([text])) == list(ner.annotate_many([text]))
    assert len(constrained_ner.annotate(text).mentions) >= 3


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    code = (
        "import sys; before = set(sys.modules); import constrained_ner; "
        "print([m for m in set(sys.modules) - before if 'constrained_ner.' in m or m in ('numpy', 'pydantic')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
