"""Freed memory is kept, so that the next step of training does not fetch it page by page."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys
from constrained_ner.training.heap import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()

def faults_of(n_blocks):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(n_blocks):
        block = bytearray(50_000_000)
        del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults_of(2)
print(faults_of(10))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_blocks_that_are_freed_cost_no_page_faults_again() -> None:
    plain, kept = (
        int(subprocess.run([sys.executable, "-c", _FAULTS, how], capture_output=True, check=True).stdout)
        for how in ("plain", "kept")
    )
    assert plain > 1000
    assert kept < plain / 10
