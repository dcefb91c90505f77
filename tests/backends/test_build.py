"""Builds of llama.cpp that crash: found out by a child process, once, and reported in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

llama_cpp = pytest.importorskip("llama_cpp")

from tiny_models import byte_level_tokenizer, write_gguf  # noqa: E402

from constrained_ner import Annotator  # noqa: E402
from constrained_ner.backends.llamacpp import build, probe  # noqa: E402
from constrained_ner.backends.llamacpp.backend import LlamaCppBackend  # noqa: E402
from constrained_ner.errors import ModelError  # noqa: E402

WITH_AMX = b"CPU : AVX512 = 1 | AMX_INT8 = 1 | REPACK = 1 | "
WITHOUT_AMX = b"CPU : AVX512 = 1 | REPACK = 1 | "
CPUINFO = Path("/proc/cpuinfo")
HERE_IS_AMX = CPUINFO.exists() and " amx_int8" in CPUINFO.read_text()


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("llama") / "tiny.gguf", byte_level_tokenizer())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and a process that knows no build yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setattr(build, "_crashes", {})
    return folder / "constrained-ner"


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of the children that were started."""
    started: list[list[str]] = []
    run = subprocess.run

    def counted(command: list[str], **options: Any) -> Any:
        started.append(command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", counted)
    return started


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let children have a llama_cpp whose llama_decode is this line of Python."""

    def install(decode: str) -> None:
        package = tmp_path / "llama_cpp"
        package.mkdir()
        (package / "llama_cpp.py").write_text(
            "import os, signal, sys, types\n"
            "llama_model_default_params = llama_context_default_params = types.SimpleNamespace\n"
            "llama_model_load_from_file = llama_init_from_model = llama_batch_get_one = lambda *_: 1\n"
            f"llama_decode = lambda *_: {decode}\n"
        )
        monkeypatch.setattr(llama_cpp, "__path__", [str(package)])

    return install


def forget() -> None:
    """As if a new process had begun."""
    build._crashes.clear()


# The child


def test_this_build_works(children: list[list[str]], cache: Path) -> None:
    """With the extra buffers, too, unless it computes with AMX: then they may well be what crashes it."""
    settings = [False] if build.computes_with_amx() else [False, True]
    for extra_buffers in settings:
        build.require_working_build(extra_buffers=extra_buffers)
    assert [command[-1] for command in children] == ["off", "on"][: len(settings)]
    assert all(json.loads(file.read_text())["crash"] == "" for file in cache.iterdir())


def test_the_child_decodes_with_the_real_library(model_path: Path) -> None:
    package = llama_cpp.__path__[0]
    command = [sys.executable, probe.__file__, package, str(model_path), "off"]
    assert subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
    command[3] += ".absent"
    assert subprocess.run(command, stderr=subprocess.DEVNULL).returncode == probe.INCONCLUSIVE


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGILL", "SIGABRT"])
def test_a_build_that_dies_is_a_model_error_in_one_line(
    model_path: Path, stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stand_in(f"os.kill(os.getpid(), signal.{name})")
    monkeypatch.setattr(llama_cpp, "llama_print_system_info", lambda: WITH_AMX)
    with pytest.raises(ModelError) as error:
        LlamaCppBackend(model_path, threads=1, extra_buffers=True)
    flags = '"-mno-amx-int8 -mno-amx-tile -mno-amx-bf16"'
    assert str(error.value) == (
        f"llama.cpp crashes on this processor ({name}): pass --no-extra-buffers, or rebuild it: "
        f"CFLAGS={flags} CXXFLAGS={flags} pip install --force-reinstall --no-cache-dir "
        "--no-binary llama-cpp-python llama-cpp-python"
    )
    with pytest.raises(ModelError, match=rf"\({name}\): rebuild it: CFLAGS="):
        LlamaCppBackend(model_path, threads=1, extra_buffers=False)
    monkeypatch.setattr(llama_cpp, "llama_print_system_info", lambda: WITHOUT_AMX)
    with pytest.raises(ModelError, match="or rebuild it: pip install"):
        LlamaCppBackend(model_path, threads=1)


def test_a_file_that_is_no_model_is_reported_first(tmp_path: Path, children: list[list[str]]) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        LlamaCppBackend(tmp_path / "absent.gguf")
    assert children == []


@pytest.mark.parametrize(
    "decode", ["1", "sys.exit('no library')", "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(99)"]
)
def test_a_child_that_fails_in_another_way_proves_nothing_and_is_not_remembered(
    model_path: Path, stand_in: Callable[[str], None], children: list[list[str]], cache: Path, decode: str
) -> None:
    stand_in(decode)
    for n in (1, 2):
        LlamaCppBackend(model_path, threads=1).close()
        assert len(children) == n
    assert not cache.exists()


def test_a_child_that_hangs_proves_nothing(
    model_path: Path, stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("signal.pause()")
    monkeypatch.setattr(build, "_TIMEOUT_S", 0.5)
    LlamaCppBackend(model_path, threads=1).close()


def test_without_the_bundled_model_there_is_no_child(
    model_path: Path, tmp_path: Path, children: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_BUNDLED", tmp_path)
    LlamaCppBackend(model_path, threads=1).close()
    assert children == []


# What is remembered


def test_the_answer_is_kept_for_the_next_process(
    model_path: Path, children: list[list[str]], cache: Path
) -> None:
    for _ in range(2):
        LlamaCppBackend(model_path, threads=1).close()
        forget()
    assert len(children) == 1
    [file] = cache.iterdir()
    about = json.loads(file.read_text())
    assert any("llama" in library for library in about["libraries"])
    assert about["processor"]
    LlamaCppBackend(model_path, threads=1, extra_buffers=not about["extra_buffers"]).close()
    assert len(children) == 2, "another setting is another question"
    file.write_text("{")
    forget()
    LlamaCppBackend(model_path, threads=1).close()
    assert len(children) == 3, "a damaged file is no answer"


def test_a_crash_is_kept_until_the_library_is_another_one(
    model_path: Path,
    tmp_path: Path,
    children: list[list[str]],
    stand_in: Callable[[str], None],
) -> None:
    stand_in("os.kill(os.getpid(), signal.SIGSEGV)")
    library = tmp_path / "llama_cpp" / "lib" / "libllama.so"
    library.parent.mkdir()
    library.write_text("first build")
    for _ in range(2):
        with pytest.raises(ModelError, match="SIGSEGV"):
            LlamaCppBackend(model_path, threads=1)
        forget()
    assert len(children) == 1
    library.write_text("second build, which works")
    source = tmp_path / "llama_cpp" / "llama_cpp.py"
    source.write_text(source.read_text().replace("os.kill(os.getpid(), signal.SIGSEGV)", "0"))
    LlamaCppBackend(model_path, threads=1).close()
    assert len(children) == 2


def test_a_cache_folder_that_cannot_be_written_costs_only_the_child(
    model_path: Path, tmp_path: Path, children: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # a folder below a file
    LlamaCppBackend(model_path, threads=1).close()
    LlamaCppBackend(model_path, threads=1).close()
    assert len(children) == 1, "this process remembers"
    forget()

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    LlamaCppBackend(model_path, threads=1).close()
    assert len(children) == 2


# The extra buffers


@pytest.mark.parametrize(
    ("system", "option", "used", "said"),
    [
        (WITHOUT_AMX, None, True, "on"),
        (WITH_AMX, None, False, "off (AMX)"),
        (WITH_AMX, True, True, "on (as asked)"),
        (WITH_AMX, False, False, "off (as asked)"),
        (WITHOUT_AMX, False, False, "off (as asked)"),
    ],
)
def test_the_extra_buffers_are_off_where_llama_cpp_computes_with_amx(
    model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    system: bytes,
    option: bool | None,
    used: bool,
    said: str,
) -> None:
    given: list[Any] = []
    load = llama_cpp.llama_model_load_from_file

    def recorded(path: bytes, parameters: Any) -> Any:
        given.append(parameters)
        return load(path, parameters)

    monkeypatch.setattr(llama_cpp, "llama_print_system_info", lambda: system)
    monkeypatch.setattr(llama_cpp, "llama_model_load_from_file", recorded)
    backend = LlamaCppBackend(model_path, threads=1, extra_buffers=option)
    assert [parameters.use_extra_bufts for parameters in given] == [used]
    assert backend.description["extra_buffers"] == said
    assert "extra_buffers" not in backend.identity, "a run may go on with other ones"


if HERE_IS_AMX:

    def test_the_bundled_model_runs_on_a_processor_with_amx() -> None:
        """With the extra buffers, a build by GCC 12 dies here of a segmentation fault.

        The test exists only on processors with AMX. Elsewhere it could not fail, and a skipped test would
        fail continuous integration; there, only the stand-ins above test what happens with AMX.
        """
        script = (
            "from constrained_ner import Annotator; print(Annotator.load(threads=1).annotate('Aspirin.'))"
        )
        child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert child.returncode == 0, child
        assert "Aspirin" in child.stdout
        with Annotator.load(threads=1) as ner:
            assert [m.text for m in ner.annotate("Effect of aspirin.").mentions] == ["aspirin"]
            amx = build.computes_with_amx()
            assert ner.backend.description["extra_buffers"] == ("off (AMX)" if amx else "on")
