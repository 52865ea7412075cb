"""The page as HTML: it loads nothing, escapes everything, and lacks what the run lacks."""

import base64
import csv
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from distill.errors import ReportError
from distill.logistic import fit_logistic4
from distill.report import agreement_plots as plots
from distill.report import write_report
from distill.report.__main__ import run
from distill.report.folder import read_folder
from distill.report.frames import Frames
from distill.report.subjects import Subject, Video
from tests.helpers import report_folders as made
from tests.helpers.grey_videos import Grey

VOID = {"meta", "img", "br", "hr", "line", "path", "circle", "rect", "polygon", "wbr"}


class Page(HTMLParser):
    """Elements with their attributes, the text of each kind, and whether tags are balanced."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "wbr":  # a name goes on
            tag, before = self.texts.pop()
            self.texts.append((tag, before + data.rstrip()))
        elif data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def sections(self) -> list[str]:
        return [str(a["id"]) for a in self.of("section")]

    @property
    def words(self) -> str:
        return " ".join(text for tag, text in self.texts if tag not in ("script", "style"))


def page(folder: Path, **kwargs: Any) -> Page:
    return Page(write_report(folder, kwargs.pop("reader", None), **kwargs))


FOLDERS = {"evaluation": made.evaluation, "student": made.student, "sweep": made.sweep}


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_page_loads_nothing_and_every_plot_has_words(kind: str, tmp_path: Path) -> None:
    found = page(FOLDERS[kind](tmp_path / "run"))
    assert not found.open
    for tag, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert "style" not in attributes, "the policy refuses it"
        for name in ("src", "href", "xlink:href", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), (tag, value)
    assert not found.of("link") and not found.of("iframe") and len(found.of("script")) == 1
    assert "@import" not in found.source and "url(" not in found.source
    plots = [a for a in found.of("svg") if "plot" in str(a.get("class", "")).split()]
    assert plots
    for plot in plots:
        assert plot["role"] == "img" and len(str(plot["aria-label"])) > 10
    assert all(a.get("alt") for a in found.of("img"))
    assert re.search(r"script-src 'sha256-[\w+/=]+'", found.source)


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_same_folder_gives_the_same_page(kind: str, tmp_path: Path) -> None:
    folder = FOLDERS[kind](tmp_path / "run")
    first = write_report(folder, None, tmp_path / "first.html").read_bytes()
    assert write_report(folder, None, tmp_path / "other.html").read_bytes() == first
    assert not [p for p in tmp_path.iterdir() if p.suffix == ".tmp"]


def test_names_of_videos_are_text(tmp_path: Path) -> None:
    found = page(made.evaluation(tmp_path / "run"))
    assert "{{ 7 * 7 }} {% raw %} & \ufffd gpj" in found.words
    assert made.HOSTILE[0] in found.words and made.HOSTILE[1] in found.words
    assert "<script>document.title" not in found.source.replace('title="owned"', "").lower()
    assert not [a for a in found.of("img") if a.get("src") == "x"]
    assert "\u202e" not in found.source and "\u200b" not in found.source
    assert made.KINDS[2] in found.words
    assert "<b>broken</b>" in found.words and not found.of("b")


def test_an_evaluation_has_every_section(tmp_path: Path) -> None:
    found = page(made.evaluation(tmp_path / "run", models=2, tables=2))
    assert found.sections == [
        "result", "across", "agreement", "against", "breakdown", "cost", "videos", "problems",
        "words", "provenance",
    ]  # fmt: skip
    words = found.words
    assert "model 0 <i> is better than model 1 <i> on table 0" in words
    assert "only 6 contents." in words  # the warning of the evaluation itself
    # A column that was asked for has its table open; what every video has is folded, and a star
    # stands where the evaluation warns of an interval.
    assert "By processing" in words and "By file size" in words and "[0.100, 0.900] *" in words
    assert "–: too few videos for a correlation." in words
    assert "60 videos could not be used" in words and "10 more are in" in words
    assert "The first 50 of them" in [text for tag, text in found.texts if tag == "summary"]
    cells = [text for tag, text in found.texts if tag == "td"]
    assert "60" in cells  # of one reason
    assert "0123456789abcdef, with changes that are not committed" in words
    assert "2026-05-01 12:00:00+02:00" in words
    assert "KVQ, test — other videos, not comparable with the above" in words
    assert "frames are left out of this report" in words


def test_a_student_has_its_own_sections(tmp_path: Path) -> None:
    found = page(made.student(tmp_path / "run"))
    assert found.sections == [
        "result", "agreement", "cost", "learning", "videos", "words", "provenance",
    ]  # fmt: skip
    words = found.words
    assert "Demo data only" in words and "Not calibrated: student" in words
    assert "budget 120" in words and "[0.700, 0.950]" in words
    assert "stage 1 in 2 starts" in words


def test_a_sweep_says_what_was_not_trained(tmp_path: Path) -> None:
    found = page(made.sweep(tmp_path / "run"))
    assert found.sections == ["runs", "cost", "words", "provenance"]
    assert "<b>no student is so small</b>" in found.words
    assert "clips, validation" in found.words and "clips, test" in found.words


def test_labels_show_their_doubt_and_what_failed(tmp_path: Path) -> None:
    teacher = made.student(tmp_path / "teacher")
    found = page(made.labels(tmp_path / "run", teacher))
    assert found.sections == ["result", "labels", "speed", "words", "provenance"]
    words = found.words
    assert "<b>torn</b>" in words and not found.of("b")
    assert "MOS of validation (24)" in words  # of the teacher, beside the labels
    assert "pseudo-labels (30)" in words
    cards = [a for a in found.of("div") if a.get("role") == "button"]
    assert cards[0]["aria-label"] == f"enlarge {made.HOSTILE[0]}"  # its members differ most
    assert len(cards) == 12


def test_a_student_is_shown_beside_its_teacher(tmp_path: Path) -> None:
    teacher, run_ = made.student(tmp_path / "teacher"), made.student(tmp_path / "run")
    store = made.labels(tmp_path / "labels", teacher) / "store"
    made.dump(run_ / "inputs.json", {"labels": str(store)})
    found = page(run_)
    assert "against" in found.sections and "Student against teacher" in found.words
    assert "Their scores correlate by 1.00 (SRCC), their errors by 1.00." in found.words
    shutil.rmtree(store)  # as where the labels came from another machine
    assert "against" not in page(run_).sections


def test_verdicts_that_tell_apart_come_first_and_all_pairs_have_a_table(tmp_path: Path) -> None:
    folder = made.evaluation(tmp_path / "run")
    result = json.loads((folder / "result.json").read_text())
    pair = result["pairs"][0] | {"contents": 12}
    few = pair | {"contents": 6, "statistic": "plcc"}
    unsure = pair | {"low": -0.02, "verdict": "not told apart at first"}
    plcc = pair | {"statistic": "plcc", "verdict": "of PLCC"}
    kvq = {"name": "a", "table_name": "t", "score": 0.92284, "srcc": 0.9, "plcc": 0.9}
    made.dump(folder / "result.json", result | {"pairs": [unsure, few, pair, plcc], "kvq": [kvq]})
    found = page(folder)
    said = [text for tag, text in found.texts if tag == "li"]
    assert said == [pair["verdict"], "not told apart at first"]
    cells = [text for tag, text in found.texts if tag == "td"]
    assert (cells.count("told apart"), cells.count("not told apart")) == (2, 2)
    assert "0.9228" in cells
    made.dump(folder / "result.json", result)
    assert "All paired comparisons" not in page(folder).words  # the sentence said it


def test_a_model_that_says_one_thing_has_a_page(tmp_path: Path) -> None:
    folder = made.evaluation(tmp_path / "run")
    result = json.loads((folder / "result.json").read_text())
    for row in result["rows"]:
        row |= dict.fromkeys(("srcc", "plcc", "plcc_fitted", "krcc", "low", "high", "gmacs"))
    made.dump(folder / "result.json", result)
    for path in folder.glob("predictions_*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row | {"score": "3", "group": ""} for row in csv.DictReader(file)][:4]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    found = page(folder)
    assert "agreement" in found.sections and not re.search(r"\bnan\b", found.words, re.I)
    assert not re.search(r'="[^"]*\bnan\b', found.source)


def test_scores_on_another_scale_are_shown_after_the_fitted_curve(tmp_path: Path) -> None:
    folder = made.evaluation(tmp_path / "run")
    path = folder / "predictions_2.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    mos, before = (np.array([float(row[name]) for row in rows]) for name in ("mos", "score"))
    for row, score in zip(rows, before, strict=True):
        row["score"] = row["frame_scores"] = str(20 * score - 300)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    result = json.loads((folder / "result.json").read_text())
    result["rows"][1] |= {"calibrated": False, "role": "scores", "gmacs": None}
    made.dump(folder / "result.json", result)
    own, given = read_folder(folder).subjects
    expected = fit_logistic4(before, mos)(before)
    assert given.scores == pytest.approx(expected, abs=1e-3)
    assert [v.frame_scores[0] for v in given.videos] == pytest.approx(given.scores, abs=1e-3)
    assert own.scores != pytest.approx(fit_logistic4(own.scores, mos)(own.scores), abs=1e-3)
    words = page(folder).words
    assert "Not on the MOS scale: model 1 <i>. Only ranks count" in words


def test_a_model_that_costs_nothing_has_a_page(tmp_path: Path) -> None:
    folder = made.evaluation(tmp_path / "run", models=1)
    result = json.loads((folder / "result.json").read_text())
    result["rows"][0]["gmacs"] = 0.0  # a table's scores
    made.dump(folder / "result.json", result)
    assert "result" in page(folder).sections


def test_sections_without_data_vanish(tmp_path: Path) -> None:
    folder = made.evaluation(tmp_path / "run", models=1)
    (folder / "problems.csv").unlink()
    (folder / "predictions_1.csv").unlink()
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({"rows": result["rows"], "pairs": []}))
    (folder / "run.json").unlink()
    assert page(folder).sections == ["result", "cost", "words", "provenance"]


def test_an_evaluation_of_older_versions_is_read(tmp_path: Path) -> None:
    folder = made.evaluation(tmp_path / "run")
    result = json.loads((folder / "result.json").read_text())
    keys = ("bundle", "role", "table", "split", "srcc", "plcc", "low", "high", "gmacs", "n")
    rows = [{key: row[key] for key in keys} for row in result["rows"]]
    for row, name in zip(rows, ("a", "b"), strict=True):
        row["bundle"] = f"/outputs/train_student/{name}/bundle"
    pair = {"first": rows[0]["bundle"], "other": rows[1]["bundle"], "srcc_difference": -0.0123,
            "low": -0.05, "high": 0.02}  # fmt: skip
    (folder / "result.json").write_text(json.dumps({"rows": rows, "pairs": [pair]}))
    words = page(folder).words
    assert "a minus b: SRCC −0.012 [−0.050, 0.020] (paired)" in words


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    folder = made.student(tmp_path / "run")
    (folder / "result.json").unlink()
    found = page(folder)
    assert "This run has not finished" in found.words
    assert "learning" in found.sections


def test_frames_of_sound_videos_and_reasons_of_others(tmp_path: Path) -> None:
    root = tmp_path / "videos"
    (root / "clips").mkdir(parents=True)
    (root / "clips" / "video_9.mp4").write_text("130")
    (root / "clips" / "video_10.mp4").write_text("-")
    folder = made.evaluation(tmp_path / "run", models=1, root=root)
    path = folder / "predictions_1.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = [
            row | {"score": "9.5"}  # the worst, which are shown
            for row in csv.DictReader(file)
            if row["video"] in ("clips/video_9.mp4", "clips/video_10.mp4")
        ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    reader = Grey()
    found = page(folder, reader=reader)
    pictures = found.of("img")
    assert pictures and {a["alt"] for a in pictures} == {"middle frame of clips/video_9.mp4"}
    image = Image.open(io.BytesIO(base64.b64decode(str(pictures[0]["src"]).split(",")[1])))
    assert image.size == (40, 30) and image.getpixel((20, 15)) == (130, 130, 130)
    assert reader.frames_read == 1  # a video is decoded once, wherever it is shown
    assert "no picture" in found.words
    assert not page(folder).of("img")


def test_frames_end_where_the_page_would_grow_too_large(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("90")
    frames = Frames(Grey(), most=1)
    assert frames.of(str(tmp_path / "a")).image
    assert frames.of(str(tmp_path / "b")).reason == "the report has as many frames as it may"
    assert frames.of(str(tmp_path / "a")).image  # is known already
    assert "not on this machine" in Frames(Grey()).of("s3://bucket/a.mp4").reason


@pytest.mark.parametrize(("models", "tables"), [(2, 1), (4, 3)])
def test_a_page_of_many_videos_stays_small(models: int, tables: int, tmp_path: Path) -> None:
    """With what frames may add, 1.6 MB, it is under 3 MB."""
    folder = made.evaluation(tmp_path / "run", models, tables, videos=2500)
    found = page(folder)
    assert len(found.source) < 1.4e6
    most = min(1000, 3000 // (models * tables))
    assert f"{most} of 2500 videos are drawn" in found.words


def test_folders_that_are_no_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no such folder"):
        write_report(tmp_path / "gone", None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReportError, match=r"neither config\.yaml and result\.json"):
        write_report(tmp_path / "empty", None)
    folder = made.evaluation(tmp_path / "run")
    (folder / "result.json").write_text("{")
    with pytest.raises(ReportError, match=r"result\.json: not readable as JSON"):
        write_report(folder, None)
    shutil.rmtree(folder)
    with pytest.raises(ReportError, match="cannot be written"):
        write_report(made.sweep(tmp_path / "s"), None, tmp_path / "no" / "such" / "r.html")


def test_the_command_writes_where_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made.evaluation(tmp_path / "run")
    assert run([str(folder), "--no-frames", "--out", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out == f"report: {tmp_path / 'page.html'}\n"
    assert not (folder / "report.html").exists()
    assert run([str(folder), "--no-frames"]) == 0
    assert (folder / "report.html").is_file()


def test_notes_are_told_once_each_with_what_they_are_about(tmp_path: Path) -> None:
    folder = made.evaluation(tmp_path / "run", tables=2)
    path = folder / "result.json"
    result = json.loads(path.read_text())
    for at, row in enumerate(result["rows"]):
        row["notes"] = ["no column split", "only 6 contents"] if at < 2 else ["no interval"]
    path.write_text(json.dumps(result))
    found = Page(write_report(folder, Grey()))
    banners = [text for tag, text in found.texts if tag == "p" and text.startswith("table ")]
    assert banners[:2] == ["table 0: no column split.", "table 0: only 6 contents."]
    assert banners[2:] == ["table 1: no interval."]


def test_legends_name_only_what_is_drawn() -> None:
    videos = [Video(f"v{k}", "", f"c{k // 4}", 3.0, 3.0 + k / 50, extra={}) for k in range(16)]
    subject = Subject("m", "t", "test", {}, videos)
    by_content = plots.residuals(subject, "content", subject.groups, 100)
    assert "over contents" not in by_content and "whisker" not in by_content
    by_half = plots.residuals(subject, "kind", ["a"] * 16, 100)
    assert "mean, 95% over contents" in by_half and "whisker" in by_half
    bare = Subject("m", "t", "test", {"srcc": 0.5, "low": None, "high": None})
    assert "95%" not in plots.dots([bare], "wide")


def test_kinds_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = made.evaluation(tmp_path / "run")
    path = folder / "result.json"
    result = json.loads(path.read_text())
    ordered = ["up to 24 fps", "24 to 25 fps", "25 to 30 fps", "over 60 fps", ""]
    part = result["breakdowns"][0]
    # As an older evaluation left them, and as two tables with different kinds do.
    shuffled = [ordered[at] for at in (1, 4, 3, 0, 2)]
    result["breakdowns"] = [part | {"column": "fps", "value": value} for value in shuffled]
    path.write_text(json.dumps(result))
    found = Page(write_report(folder, Grey()))
    shown = [text for tag, text in found.texts if tag == "td" and text.endswith(" fps")]
    assert shown == ordered[:4]
