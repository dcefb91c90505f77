"""The report of some runs: right figures, nothing from outside, nothing that a hostile name could do."""

from __future__ import annotations

import base64
import contextlib
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from commands import run_command
from hypothesis import given
from hypothesis import strategies as st

from constrained_ner.annotation.result import Annotated
from constrained_ner.cli import report as command
from constrained_ner.data import Document, Mention, Sentence, Span
from constrained_ner.errors import MissingExtraError, OutputError
from constrained_ner.evaluation.matching import Pair
from constrained_ner.experiments.report import ReportPage
from constrained_ner.experiments.report.drawing import _legend_shape
from constrained_ner.experiments.report.quotes import quote
from constrained_ner.experiments.report.tracking import log_to_mlflow
from constrained_ner.experiments.scored_run import ScoredRun, find_records, score_runs
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.formats.evaluator_lines import evaluator_lines
from constrained_ner.runs.journal import SentenceResult
from constrained_ner.runs.record import RunRecord, Totals, installed_versions, record_path

SAMPLE = Path(__file__).parents[2] / "examples" / "sample.xml"
PACKAGE = Path(__file__).parents[2] / "constrained_ner"
HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(1)>|`[a](javascript:b) $x^ \x07 β 日本"


def gold() -> list[Sentence]:
    return [sentence for document in read_ddi(SAMPLE) for sentence in document]


def write_run(out: Path, predicted: Sequence[Sentence], **options: Any) -> Path:
    """An output with its record, as a run over the sample would have left them."""
    chosen = {"model": {"name": "m.gguf", "path": f"/somewhere/{out.name}"}, "limit": None, **options}
    lines = [list(evaluator_lines(Document("d", (sentence,)))) for sentence in predicted]
    effort = {"n_passes": 3, "n_tokens": 30, "n_verbatim": 1, "n_prompt_tokens": 20}
    totals = Totals()
    for n, sentence in enumerate(predicted):
        result = SentenceResult.of(Annotated(sentence))
        problems = (f"unknown tag {HOSTILE}",) if n == 0 else ()
        totals.add(result.model_copy(update={"effort": effort, "problems": problems}))
    record = RunRecord(
        started="2025-01-01T00:00:00+00:00",
        input=str(SAMPLE),
        output=str(out),
        options=chosen,
        schema_hash="a",
        prompt_hash="b",
        model_hash="c",
        versions=installed_versions(),
        n_resumed=0,
        elapsed_s=2.0 + len(out.name),
        **totals.fields(),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(f"{line}\n" for sentence in lines for line in sentence), encoding="utf-8")
    record.save(record_path(out))
    return record_path(out)


def without(type_name: str) -> list[Sentence]:
    return [s.with_mentions(m for m in s.mentions if m.type != type_name) for s in gold()]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with a grid: no drugs found with 0 examples, no groups with 5, everything with 15."""
    folder = tmp_path / "runs"
    write_run(folder / "zero.out", without("drug"), shots=0, select=None)
    for select in ("random", "similar"):
        write_run(folder / f"{select}-5.out", without("group"), shots=5, select=select)
        write_run(folder / f"{select}-15.out", gold(), shots=15, select=select)
    return folder


def scored(*places: Path) -> list[ScoredRun]:
    return score_runs(find_records(places))


def run(*arguments: object) -> int:
    return run_command(command.main, *arguments)


class Page(HTMLParser):
    """The elements of a page, with their attributes and the text in them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_best_run_comes_first_and_only_what_varies_is_a_column(runs: Path) -> None:
    table = ReportPage.of(scored(runs)).comparison.table()
    assert table.header[:5] == ("#", "run", "shots", "select", "micro F1")
    assert [row[1] for row in table.rows] == ["random-15", "similar-15", "random-5", "similar-5", "zero"]
    assert [row[2] for row in table.rows] == ["15", "15", "5", "5", "0"]
    figures = dict(zip(table.header, table.rows[0], strict=True))
    assert figures["micro F1"] == "100.0 [100.0, 100.0]"
    last = dict(zip(table.header, table.rows[-1], strict=True))
    assert re.fullmatch(r"-\d+\.\d \[-\d+\.\d, -\d+\.\d\]", last["Δ micro F1"])
    assert figures["verbatim %"] == "100.0"
    assert figures["prompt tokens"] == "20"
    assert "failed" not in table.header  # 0 in every run


def test_figures_say_in_words_what_they_show(runs: Path) -> None:
    shots, seconds = ReportPage.of(scored(runs)).figures()
    # The run without examples begins both lines: there was nothing to select.
    for select in ("random", "similar"):
        assert re.search(rf"micro F1, {select}: 0: [\d.]+, 5: [\d.]+, 15: 100\.0", shots.alt)
    assert seconds.alt.count(" s, ") == 5


def test_two_or_one_place_on_an_axis_are_no_figure(runs: Path, tmp_path: Path) -> None:
    assert ReportPage.of(scored(runs / "zero.out", runs / "random-5.out")).figures() == []
    assert ReportPage.of(scored(runs / "zero.out")).figures() == []


def test_every_measure_is_in_one_table_and_options_come_first(runs: Path) -> None:
    page = ReportPage.of(scored(runs))
    assert sorted(key for group in page.groups for key in group.keys) == sorted(page.comparison.keys)
    assert [group.title for group in page.groups] == ["F1", "F1 by type", "Answers and cost"]
    header = page.groups[0].table().header
    assert header == ("#", "run", "shots", "select", "micro F1", "Δ micro F1", "macro F1", "Δ macro F1")


def test_best_is_only_what_is_above_every_other_by_more_than_chance(tmp_path: Path) -> None:
    """One of 42 sentences more is within chance, all groups more are not."""
    write_run(tmp_path / "all.out", gold())
    write_run(tmp_path / "without.out", without("group"))
    page = ReportPage.of(scored(tmp_path))
    assert page.comparison.best == {"micro_f1": 0, "macro_f1": 0, "f1_group": 0}
    assert page.verdict == "#1 all has the highest micro F1, 100.0. The other is clearly below."
    first = next(s for s in gold() if s.mentions)
    write_run(tmp_path / "one-less.out", [s.with_mentions(()) if s == first else s for s in gold()])
    page = ReportPage.of(scored(tmp_path))
    assert page.comparison.best == {}
    assert page.verdict.endswith("1 of 2 others is clearly below; the lead over the rest may be chance.")
    page = ReportPage.of(scored(tmp_path / "all.out", tmp_path / "one-less.out"))
    assert "may be chance" in page.verdict
    assert ReportPage.of(scored(tmp_path / "all.out")).verdict == ""


def test_an_option_is_shown_once_unless_it_differs(runs: Path, tmp_path: Path) -> None:
    assert run(runs, "-o", tmp_path / "r.html") == 0
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.text.count("model.name") == 1
    assert page.text.count("numpy") == 1
    assert "Not set: limit." in page.text
    (first, *_others) = ReportPage.of(scored(runs)).details
    assert first.options == {"shots": "15", "select": "random"}


def test_errors_are_shown_in_their_sentences(tmp_path: Path) -> None:
    wrong = [
        s.with_mentions(Mention((Span(0, m.end),), "brand", s.text[: m.end]) for m in s.mentions[:1])
        for s in gold()
    ]
    write_run(tmp_path / "a.out", wrong)
    (details,) = ReportPage.of(scored(tmp_path)).details
    kinds = {kind.name: kind for kind in details.errors()}
    assert {"type", "boundary+type", "missed"} <= kinds.keys()
    texts = {s.id: s.text for s in gold()}
    for kind in kinds.values():
        assert 1 <= len(kind.quotes) <= 3
        for quoted in kind.quotes:
            shown = "".join(piece.text for piece in quoted.pieces).strip("…")
            assert shown in texts[quoted.sentence_id]
            if quoted.gold and quoted.gold.text != "Thiazide diuretics":
                assert "".join(p.text for p in quoted.pieces if p.gold) == quoted.gold.text
    assert run(tmp_path, "-o", tmp_path / "r.html") == 0
    assert "Examples of errors" in (tmp_path / "r.html").read_text(encoding="utf-8")


@given(
    text=st.text(max_size=300),
    gold_at=st.tuples(st.integers(0, 300), st.integers(1, 300)),
    found_at=st.tuples(st.integers(0, 300), st.integers(1, 999_999_999)),
)
def test_a_quote_is_short_whatever_the_spans(
    text: str, gold_at: tuple[int, int], found_at: tuple[int, int]
) -> None:
    """Lines of other tools may have any offsets."""
    one, other = (Mention((Span(start, start + n),), "drug", "x") for start, n in (gold_at, found_at))
    for pair in (Pair("s", one, other), Pair("s", one, None), Pair("s", None, other)):
        quoted = quote(pair, text)
        assert sum(len(piece.text) for piece in quoted.pieces) <= len(text) + 12
        assert all(piece.text.isprintable() for piece in quoted.pieces)


def test_confusion_counts_every_mention_once(tmp_path: Path) -> None:
    renamed = [
        s.with_mentions(m if m.type != "brand" else type(m)(m.spans, "drug", m.text) for m in s.mentions)
        for s in without("group")
    ]
    write_run(tmp_path / "a.out", renamed)
    (details,) = ReportPage.of(scored(tmp_path)).details
    rows = {
        row[0]: dict(zip(details.confusion().header[1:], map(int, row[1:]), strict=True))
        for row in details.confusion().rows
    }
    n = {t: sum(m.type == t for s in gold() for m in s.mentions) for t in ("brand", "drug", "group")}
    assert rows["brand"]["drug"] == n["brand"]
    assert rows["drug"]["drug"] == n["drug"]
    assert rows["group"]["none"] == n["group"]


def test_the_page_loads_nothing_and_is_accessible(runs: Path, tmp_path: Path) -> None:
    assert run(runs, "-o", tmp_path / "r.html") == 0
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert not page.named("script")
    assert not page.named("link")
    for tag, attributes in page.elements:
        for name in ("src", "srcset", "href", "action"):
            if name in attributes:
                assert (attributes[name] or "").startswith("data:image/svg+xml;base64,"), (tag, name)
    assert len(page.named("img")) == 2  # shots, seconds
    assert len(page.named("caption")) == len(page.named("table")) == 3 + 3 * 5
    assert all(image["alt"] for image in page.named("img"))
    assert all("scope" in header for header in page.named("th"))
    assert len(page.named("h1")) == 1
    for image in [*page.named("img"), *page.named("source")]:
        uri = image.get("src") or image.get("srcset") or ""
        svg = ElementTree.fromstring(base64.b64decode(uri.partition("base64,")[2]))
        assert svg.tag == "{http://www.w3.org/2000/svg}svg"
        links = [v for e in svg.iter() for k, v in e.attrib.items() if k.endswith("href")]
        assert all(link.startswith("#") for link in links)


def test_names_and_texts_are_never_markup(tmp_path: Path) -> None:
    for n, name in enumerate((HOSTILE, "tame")):
        write_run(tmp_path / f"{n}<i>.out", gold(), model={"name": name}, note=HOSTILE * (n + 1))
    assert run(tmp_path, "-o", tmp_path / "r.html") == 0
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert not page.named("script")
    assert not page.named("i")
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert "<script>alert(1)</script>" in page.text  # as text, it is there
    markdown = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "<" not in markdown
    assert "](" not in markdown
    for table in re.findall(r"(?m)(?:^\|.*\n)+", markdown):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


def test_success_names_the_files(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(runs, "-o", tmp_path / "r.html") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"compared 5 runs in {tmp_path / 'r.html'} and {tmp_path / 'r.md'}\n"


def test_the_same_runs_give_the_same_bytes(runs: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run(runs / "zero.out", runs / "random-5.out", "-o", tmp_path / f"{name}.html") == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert (tmp_path / "a.md").read_bytes() == (tmp_path / "b.md").read_bytes()


def test_a_moved_folder_is_read_where_it_is(runs: Path, tmp_path: Path) -> None:
    before = ReportPage.of(scored(runs)).comparison.table()
    shutil.move(runs, tmp_path / "elsewhere")
    assert ReportPage.of(scored(tmp_path / "elsewhere")).comparison.table() == before


def test_places_are_records_outputs_and_folders_and_count_once(runs: Path) -> None:
    places = [runs / "zero.out", runs / "zero.out.run.json", runs]
    assert len(find_records(places)) == 5
    assert find_records(places)[0].name == "zero.out.run.json"


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for folder in ("a/x", "b/x"):
        write_run(tmp_path / folder / "devel.out", gold())
    assert [run.name for run in scored(tmp_path)] == ["a/x/devel", "b/x/devel"]


def test_a_limited_run_is_scored_on_its_own_sentences(tmp_path: Path) -> None:
    write_run(tmp_path / "a.out", gold()[:10], limit=10)
    (only,) = scored(tmp_path)
    assert only.evaluation.micro.fn == 0
    assert len(only.gold) == 10


def test_a_hash_is_shown_only_where_nothing_else_tells_runs_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "a.out", gold(), prompt="plain", prompt_hash="1" * 64)
    write_run(tmp_path / "b.out", gold(), prompt="guide", prompt_hash="2" * 64)
    assert tuple(ReportPage.of(scored(tmp_path)).comparison.varying) == ("prompt",)
    write_run(tmp_path / "c.out", gold(), prompt="guide", prompt_hash="3" * 64)
    assert tuple(ReportPage.of(scored(tmp_path)).comparison.varying) == ("prompt", "prompt_hash")


def test_what_goes_with_examples_differs_only_between_runs_that_have_some(tmp_path: Path) -> None:
    write_run(tmp_path / "a.out", gold(), shots=0)
    chosen = {"seed": 0, "examples": "/data/train.xml"}
    for shots in (5, 15):
        write_run(tmp_path / f"{shots}.out", gold(), shots=shots, select="random", **chosen)
    report = ReportPage.of(scored(tmp_path))
    assert tuple(report.comparison.varying) == ("shots",)
    assert {"select": "random", "seed": "0", "examples": "/data/train.xml"}.items() <= report.shared.items()
    write_run(tmp_path / "c.out", gold(), shots=5, select="random", **(chosen | {"seed": 1}))
    assert tuple(ReportPage.of(scored(tmp_path)).comparison.varying) == ("shots", "seed")


@pytest.mark.parametrize(("length", "columns", "rows"), [(8, 3, 4), (30, 3, 4), (40, 2, 5), (400, 2, 5)])
def test_a_legend_is_no_wider_than_its_figure(length: int, columns: int, rows: int) -> None:
    assert _legend_shape([f"{n}".rjust(length) for n in range(10)] * 2) == (columns, rows)


def bad_runs(tmp_path: Path) -> Iterator[tuple[list[object], str]]:
    empty = tmp_path / "empty"
    empty.mkdir()
    yield [empty], "no *.run.json in this folder"
    yield [tmp_path / "none"], "cannot be read"
    (tmp_path / "bad.run.json").write_text("{}")
    yield [tmp_path / "bad.run.json"], "not the record of a run"
    orphan = write_run(tmp_path / "orphan.out", gold())
    (tmp_path / "orphan.out").unlink()
    yield [orphan], "its output"
    whole = write_run(tmp_path / "whole.out", gold())
    no_gold = tmp_path / "bare.xml"
    no_gold.write_text('<d><sentence id="s" text="x"/></d>')
    yield [whole, "--gold", no_gold], "no entities"
    other = tmp_path / "other.xml"
    other.write_text(SAMPLE.read_text(encoding="utf-8").replace("sample.", "simple."), encoding="utf-8")
    yield [whole, "--gold", other], "of the run is not in"
    short = write_run(tmp_path / "short.out", gold()[:3])
    yield [short], "annotated 3 sentences"


def test_bad_runs_are_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in bad_runs(tmp_path):
        assert run(*arguments, "-o", tmp_path / "r.html") == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert message in error
        assert error.count("\n") <= 2, "one line, or one line and a hint"
        assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("name", ["r.md", "r", "nowhere/r.html"])
def test_a_page_that_cannot_be_written_is_one_line(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run(runs, "-o", tmp_path / name) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / name}")


def test_without_the_extra_the_pip_line_is_named(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"matplotlib .*constrained-ner\[report\]"):
        ReportPage.of(scored(runs)).html()
    monkeypatch.setitem(sys.modules, "jinja2", None)  # of the core: something removed it
    with pytest.raises(MissingExtraError, match=r"jinja2 .*pip install jinja2"):
        ReportPage.of(scored(runs)).markdown()


class Recorder(types.ModuleType):
    """MLflow's calls, kept."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.calls: list[tuple[str, Any]] = []
        self.exceptions = types.SimpleNamespace(MlflowException=RuntimeError)

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls.append((name, arguments))

    @contextlib.contextmanager
    def start_run(self, run_name: str) -> Iterator[None]:
        self.calls.append(("start_run", run_name))
        yield


def test_every_run_is_logged_to_mlflow(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, "mlflow", recorder)
    both = [runs / "random-15.out", runs / "zero.out"]
    assert run(*both, "-o", tmp_path / "r.html", "--track", "mlflow") == 0
    assert [value for name, value in recorder.calls if name == "start_run"] == ["random-15", "zero"]
    parameters = [value[0] for name, value in recorder.calls if name == "log_params"]
    assert parameters[0]["shots"] == "15"
    metrics = [value[0] for name, value in recorder.calls if name == "log_metrics"]
    assert metrics[0]["micro_f1"] == 1.0
    assert all(isinstance(value, float) for figures in metrics for value in figures.values())


def test_mlflow_missing_or_failing_is_the_users_to_mend(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match="mlflow"):
        log_to_mlflow(scored(runs))
    assert run(runs, "-o", runs / "r.html", "--track", "mlflow") == 2
    assert not (runs / "r.html").exists()  # said before any work
    broken = Recorder()

    def refuse(*_: object) -> None:
        raise RuntimeError("no store\nat all")

    broken.set_experiment = refuse  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "mlflow", broken)
    with pytest.raises(OutputError, match=r"MLflow: no store$"):
        log_to_mlflow(scored(runs))


def chromium(page: Path, profile: Path, *options: str) -> str:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    profile.mkdir()
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={profile}", "--window-size=1300,1400", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_a_browser_shows_it_in_light_and_dark(runs: Path, tmp_path: Path) -> None:
    from matplotlib.image import imread

    page = tmp_path / "r.html"
    assert run(runs, "-o", page) == 0
    dom = Page(chromium(page, tmp_path / "p0", "--dump-dom"))
    assert "5 runs compared" in dom.text
    assert len(dom.named("img")) == 2
    for scheme, ink_is_dark, accent in (("1", True, (0x00, 0x60, 0xA8)), ("0", False, (0x6C, 0xB6, 0xFF))):
        picture = tmp_path / f"{scheme}.png"
        chromium(
            page,
            tmp_path / f"p-{scheme}",
            f"--screenshot={picture}",
            f"--blink-settings=preferredColorScheme={scheme}",
        )
        pixels = imread(picture)[:, :, :3]
        assert (pixels[5, 5].mean() > 0.5) == ink_is_dark  # the page's corner
        drawn = np.abs(pixels - np.array(accent) / 255).max(axis=2) < 0.02
        assert drawn.sum() > 500, "the values in the tables are on the screen"


def luminance(colour: np.ndarray) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (WCAG 2.1)."""
    linear = np.where(colour <= 0.03928, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(scheme: int) -> None:
    css = (PACKAGE / "templates" / "pages" / "base.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    colours = {
        name: np.array([int(value[at : at + 2], 16) for at in (0, 2, 4)]) / 255
        for name, value in re.findall(r"--(\w+): #([0-9a-f]{6})", blocks[scheme])
    }
    page, accent = colours["page"], colours["accent"]
    shaded = 0.4 * accent + 0.6 * page  # the darkest cell of a matrix
    pairs = [("ink", page), ("soft", page), ("accent", page), ("ink", shaded), ("ink", colours["found"])]
    assert min(contrast(colours[text], behind) for text, behind in pairs) >= 4.5
    assert contrast(colours["gold"], page) >= 3  # a line, not text


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(runs: Path, tmp_path: Path, width: int) -> None:
    """Wide tables and figures scroll in boxes of their own."""
    write_run(runs / f"{'long' * 40} name.out", gold(), model={"name": "m" * 300}, shots=15)
    assert run(runs, "-o", tmp_path / "r.html") == 0
    outer = tmp_path / "outer.html"
    measure = (
        "const page = this.contentDocument; page.querySelectorAll('details').forEach(d => d.open = true); "
        "document.title = page.documentElement.scrollWidth + ' ' + page.querySelectorAll('img').length"
    )
    frame = f'src="r.html" style="width: {width}px; height: 900px; border: 0"'
    outer.write_text(f'<iframe {frame} onload="{measure}"></iframe>')
    dom = chromium(outer, tmp_path / "p", "--allow-file-access-from-files", "--dump-dom")
    found = re.search(r"<title>(\d+) (\d+)</title>", dom)
    assert found is not None
    assert int(found[1]) <= width
    assert int(found[2]) == 2
