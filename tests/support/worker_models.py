"""Annotators for worker processes: a fake model, and ways to die.

Functions of a module, so that a new process can import them; `functools.partial` gives them a folder in which
the processes leave notes for the test.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vocabularies import tag_token_vocabulary

from constrained_ner.annotation.annotator import Annotator, Backend, Notify
from constrained_ner.annotation.by_logits import ByLogits
from constrained_ner.annotation.settings import Settings
from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.backends.protocol import Scores, Step
from constrained_ner.data import Mention
from constrained_ner.errors import ModelError

TEMPLATE = "{{ messages[-1]['content'] }}<|im_end|>"


def fake_annotator(settings: Settings, backend: Backend | None, notify: Notify) -> Annotator:
    """Random but repeatable answers, with a note that every worker has."""
    if backend is None:
        notify("the model was loaded")
        vocabulary = tag_token_vocabulary()
        score = seeded_score(len(vocabulary), scale=3.0)
        backend = FakeBackend(vocabulary, score, context_length=2048, max_sequences=1, chat_template=TEMPLATE)
    return Annotator(backend, settings, notify=notify)


def slow_annotator(folder: Path, settings: Settings, backend: Backend | None, notify: Notify) -> Annotator:
    """Leaves its process id in the folder, and takes its time for each sentence."""

    def begin(_text: str) -> None:
        (folder / str(os.getpid())).touch()
        time.sleep(0.02)

    return _before_each_sentence(begin, settings, backend, notify)


def dying_annotator(
    folder: Path,
    words: Sequence[str],
    n_times: int,
    settings: Settings,
    backend: Backend | None,
    notify: Notify,
) -> Annotator:
    """Kills its process n times at each sentence with one of the words. Each death leaves a file."""

    def begin(text: str) -> None:
        for word in words:
            deaths = list(folder.glob(f"{word}.*"))
            if word in text.split() and len(deaths) < n_times:
                (folder / f"{word}.{os.getpid()}").touch()
                os.kill(os.getpid(), signal.SIGKILL)

    return _before_each_sentence(begin, settings, backend, notify)


def shared_annotator(folder: Path, settings: Settings, backend: Backend | None, notify: Notify) -> Annotator:
    """A model of four slots that takes its time for each pass, and notes in a file how many took part."""

    class Noted(FakeBackend):
        def forward(self, steps: Sequence[Step]) -> list[list[Scores | None]]:
            time.sleep(0.005)
            with (folder / "passes").open("a") as notes:
                print(len(steps), file=notes)
            return super().forward(steps)

    vocabulary = tag_token_vocabulary()
    score = seeded_score(len(vocabulary), scale=3.0)
    noted = Noted(vocabulary, score, context_length=2048, max_sequences=4, chat_template=TEMPLATE)
    return Annotator(noted, settings, notify=notify)


def dies_at_start(settings: Settings, backend: Backend | None, notify: Notify) -> Annotator:
    os._exit(7)


def refuses(settings: Settings, backend: Backend | None, notify: Notify) -> Annotator:
    raise ModelError("no.gguf: no such model file")


def breaks(settings: Settings, backend: Backend | None, notify: Notify) -> Annotator:
    raise ZeroDivisionError("a mistake of ours")


def _before_each_sentence(
    begin: Callable[[str], None], settings: Settings, backend: Backend | None, notify: Notify
) -> Annotator:
    submit = ByLogits.submit

    def begin_and_submit(self: ByLogits, window: str, sentence: str, expected: Sequence[Mention]) -> object:
        begin(window)
        return submit(self, window, sentence, expected)

    ByLogits.submit = begin_and_submit  # type: ignore[assignment,method-assign]  # this process is our own
    return fake_annotator(settings, backend, notify)
