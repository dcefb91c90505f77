"""Tells the C library to keep memory that is freed, which training on a processor asks for again at once.

By default glibc gives large blocks back to the kernel, and every step of training gets them anew, page by
page, each filled with zeros. Where there is no glibc, nothing happens.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # names in glibc's malloc.h
_NEVER = (1 << 31) - 1
_GROW_BY = 256 << 20


def keep_freed_memory() -> bool:
    """Keep freed memory from now on; whether the C library agreed. The process only ever grows."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    options = {_MMAP_MAX: 0, _TRIM_THRESHOLD: _NEVER, _TOP_PAD: _GROW_BY}
    agreed = [mallopt(option, value) == 1 for option, value in options.items()]
    return all(agreed)
