"""Records of a file that cannot be read, while others can."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from .protocol import Reading

_ENOUGH = 100
"""So many damaged records at the beginning, and none that is not, say that the file is of another format."""


@dataclass(slots=True)
class Damage:
    """Reports damaged records, or raises InputError if there are no others."""

    path: Path
    reading: Reading
    _held: list[str] = field(default_factory=list)
    _any_read: bool = False

    def add(self, why: str) -> None:
        """A record that cannot be read. why: its place and what is wrong, without the file."""
        if self._any_read:
            self.reading.report_damaged(f"{self.path}: {why}")
            return
        self._held.append(why)
        if len(self._held) == _ENOUGH:
            self.finish()

    def read(self) -> None:
        """A record was read: those before it are damage, and no other format."""
        if not self._any_read:
            self._any_read = True
            for why in self._held:
                self.add(why)

    def finish(self) -> None:
        """The file ends. Raises InputError if no record was read."""
        if self._any_read:
            return
        if not self._held:
            raise InputError(f"{self.path}: no records")
        others = f" (and so on: none of {len(self._held)} records can be read)" if len(self._held) > 1 else ""
        raise InputError(f"{self.path}: {self._held[0]}{others}")
