import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from constrained_ner.data import Sentence
from constrained_ner.formats.ddi import read_ddi

# The same examples on every machine, and no deadline: continuous integration may be slow, never undecided.
settings.register_profile("constrained-ner", deadline=None, derandomize=True)
settings.load_profile("constrained-ner")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a job in a shell's background: the commands that tests start would never see Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the repository with corpora that may not be committed."""
    folder = Path(__file__).parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the corpora in {folder}")
    return folder


@pytest.fixture(scope="session")
def gold(shared: Path) -> dict[str, list[Sentence]]:
    """The sentences of the DDI corpus with their mentions: "train" and "devel"."""
    return {
        name: [
            sentence
            for document in read_ddi(shared / "data" / "ddi" / f"{name}.xml")
            for sentence in document
        ]
        for name in ("train", "devel")
    }


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In continuous integration nothing may be left out: a skipped test fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and os.environ.get("CI"):
        for report in skipped:
            reporter.write_line(f"skipped in CI: {report.nodeid}: {report.longrepr}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
