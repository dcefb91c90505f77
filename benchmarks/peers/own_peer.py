"""This package, with llama.cpp in its process.

Options: tags or list; free for an answer without a grammar, aligned with the sentence.
"""

from __future__ import annotations

from collections.abc import Callable

from seam import AnswerError, Job, Name, answer, options, read_job

from constrained_ner import Annotator, Mention, Sentence, Settings, Span
from constrained_ner.data import INEXACT


def finder(job: Job, chosen: list[str]) -> tuple[Callable[[str], list[Name]], Callable[[], int]]:
    """What finds names, and what tells how many tokens the last answer took: its forward passes."""
    settings = Settings(
        model=job.model,
        threads=1,
        context=8192,
        answer="list" if "list" in chosen else "tags",
        constrained="free" not in chosen,
        examples=[example(n, e) for n, e in enumerate(job.examples)],
        consistency=False,
        min_confidence=0.0,
    )
    ner = Annotator.load(settings=settings, notify=lambda _: None)
    n_passes = 0

    def find(text: str) -> list[Name]:
        nonlocal n_passes
        (annotated,) = ner.run([Sentence("", text)])
        n_passes = annotated.effort.n_passes
        names = [
            Name(None if m.provenance in INEXACT else m.text, m.type, m.start, m.end)
            for m in annotated.sentence.mentions
        ]
        names += [Name(None, "")] * annotated.effort.n_invented
        if annotated.failure is not None or annotated.effort.n_unfinished:
            raise AnswerError(annotated.failure or "the answer does not end", names)
        return names

    return find, lambda: n_passes


def example(n: int, shown: dict) -> Sentence:
    mentions = [Mention((Span(e["start"], e["end"]),), e["type"], e["text"]) for e in shown["entities"]]
    return Sentence(str(n), shown["text"], tuple(mentions))


if __name__ == "__main__":
    job = read_job()
    answer(job, *finder(job, options()))
