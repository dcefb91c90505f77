"""The processors that this process may use: fewer than the machine has in a container or beside other work.

usable_processors()   by the affinity of the process and the quota of its container
usable_threads()      the same, but no more than OMP_NUM_THREADS
free_threads()        those of them that nothing keeps busy at this moment
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")
_N_LOOKS = 5
_BETWEEN_LOOKS_S = 0.004  # as long as a scheduler's turn, so that the looks differ


def usable_processors(root: Path = _ROOT) -> int:
    """The processors that the affinity allows, or the container's quota if that is less; at least 1.

    A quota is rounded down: `docker run --cpus=1.5` is 1. root: where /proc and /sys are.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([allowed, *_quotas(root)])))


def usable_threads(root: Path = _ROOT) -> int:
    """The usable processors, but no more than OMP_NUM_THREADS says."""
    most = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    usable = usable_processors(root)
    return min(usable, int(most)) if most.isdecimal() and int(most) else usable


def free_threads(root: Path = _ROOT) -> int:
    """The usable threads, less what others keep busy now; at least 1.

    Only Linux says what is running; elsewhere everything counts as free.
    """
    free = (os.cpu_count() or 1) - _n_running_besides(root)
    return max(1, min(usable_threads(root), free))


def _n_running_besides(root: Path) -> int:
    """Threads of this machine that run or wait for a processor, without this one: the median of a few looks.

    Not the load average: it remembers for a minute what has ended, such as the command before this one.
    """
    looks: list[int] = []
    for at in range(_N_LOOKS):
        if at:
            time.sleep(_BETWEEN_LOOKS_S)
        running = _read(root / "proc/loadavg").split()[3:4]  # "2/141": runnable and all
        looks.append(int(running[0].partition("/")[0]) - 1 if running else 0)
    return int(statistics.median_low(looks))


# ---- quotas


def _quotas(root: Path) -> Iterator[float]:
    """The quotas of the control groups that the process is in, in processors.

    A quota counts for all groups below it. Inside a container the path is often that outside, of which only
    the end, or nothing, is to be seen; so every folder on the way to the top is asked.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        folders = [*_folders(path)]
        if not controllers:  # version 2
            for mount in ("sys/fs/cgroup", "sys/fs/cgroup/unified"):
                yield from (_share(_read(root / mount / folder / "cpu.max")) for folder in folders)
        elif "cpu" in controllers.split(","):
            for mount in ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"):
                for folder in folders:
                    at = root / mount / folder
                    period = _read(at / "cpu.cfs_period_us")
                    yield _share(f"{_read(at / 'cpu.cfs_quota_us')} {period}")


def _folders(path: str) -> Iterator[str]:
    """The folder of a control group and those above it, relative to the top.

    Example: "/docker/1f" -> "docker/1f", "docker", "."
    """
    inside = PurePosixPath(path.lstrip("/"))
    if ".." not in inside.parts:  # a group outside this name space
        yield str(inside)
        yield from (str(parent) for parent in inside.parents)
    else:
        yield "."


def _share(quota_and_period: str) -> float:
    """The processors that a quota is worth; infinite without one.

    Example: "150000 100000" -> 1.5; "max 100000" -> inf; "-1 100000" -> inf
    """
    parts = quota_and_period.split()
    if len(parts) != 2 or not all(part.isdecimal() and int(part) for part in parts):
        return float("inf")
    return int(parts[0]) / int(parts[1])


def _read(path: Path) -> str:
    """The text of a file of the kernel; empty if there is none."""
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
