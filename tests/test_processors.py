"""What a process may use, read from a made-up /proc and /sys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from constrained_ner import processors
from constrained_ner.processors import free_threads, usable_processors, usable_threads


@pytest.fixture(autouse=True)
def _eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def machine(root: Path, group: str, **files: str) -> Path:
    """A root with /proc/self/cgroup and files below /sys/fs/cgroup; `__` in a name stands for a slash."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(group)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000\n", 8),
        ("100000 100000\n", 1),
        ("50000 100000\n", 1),  # half a processor
        ("399999 100000\n", 3),
        ("1600000 100000\n", 8),
        ("", 8),
        ("nonsense\n", 8),
        ("100000 0\n", 8),
    ],
)
def test_a_quota_of_version_2_counts_rounded_down(tmp_path: Path, quota: str, expected: int) -> None:
    assert usable_processors(machine(tmp_path, "0::/\n", cpu_DOT_max=quota)) == expected


def test_the_least_quota_on_the_way_to_the_top_counts(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "0::/pod/box\n",
        pod__cpu_DOT_max="200000 100000",
        pod__box__cpu_DOT_max="400000 100000",
        other__cpu_DOT_max="100000 100000",
    )
    assert usable_processors(root) == 2


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("250000", 2), ("20000", 1)])
def test_a_quota_of_version_1_counts(tmp_path: Path, mount: str, quota: str, expected: int) -> None:
    group = "5:memory:/docker/1f\n4:cpu,cpuacct:/docker/1f\n1:name=systemd:/docker/1f\n0::/x\n"
    root = machine(
        tmp_path,
        group,
        **{f"{mount}__docker__1f__cpu_DOT_cfs_quota_us": f"{quota}\n"},
        **{f"{mount}__docker__1f__cpu_DOT_cfs_period_us": "100000\n"},
    )
    assert usable_processors(root) == expected


def test_inside_a_container_the_path_is_that_outside(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "4:cpu:/docker/1f\n",
        cpu__cpu_DOT_cfs_quota_us="300000\n",
        cpu__cpu_DOT_cfs_period_us="100000\n",
    )
    assert usable_processors(root) == 3
    (root / "proc/self/cgroup").write_text("0::/../other\n")
    (root / "sys/fs/cgroup/cpu.max").write_text("200000 100000\n")
    assert usable_processors(root) == 2


def test_without_any_of_these_files_the_affinity_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert usable_processors(tmp_path) == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5})
    assert usable_processors(tmp_path) == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_processors(tmp_path) == 8  # macOS, Windows: all there are
    assert free_threads(tmp_path) == 8


@pytest.mark.parametrize(
    ("value", "expected"), [("3", 3), ("3,2", 3), ("99", 8), ("0", 8), ("-1", 8), ("many", 8), ("", 8)]
)
def test_omp_num_threads_is_heeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, expected: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert usable_threads(tmp_path) == expected
    assert usable_processors(tmp_path) == 8  # it speaks of threads, not of processes


@pytest.mark.parametrize(
    ("running", "expected"), [("1", 8), ("2", 7), ("6", 3), ("8", 1), ("9", 1), ("200", 1), ("0", 8)]
)
def test_what_others_keep_busy_is_not_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: str, expected: int
) -> None:
    """Whatever the load average remembers. `running` counts the thread that looks."""
    root = machine(tmp_path, "0::/\n")
    (root / "proc/loadavg").write_text(f"7.90 5.19 5.50 {running}/412 17234\n")
    assert free_threads(root) == expected
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/cpu.max").write_text("200000 100000\n")
    assert free_threads(root) == min(expected, 2)


def test_a_moment_does_not_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([9, 1, 2, 9, 1])
    monkeypatch.setattr(processors, "_read", lambda path: f"0 0 0 {next(looks)}/9 1")
    assert processors._n_running_besides(tmp_path) == 1
