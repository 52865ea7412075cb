"""What a row says, and which rows an earlier run may have left."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.data.reader import VideoInfo
from distill.data.rows import Row
from distill.data.views import KeyFrames
from distill.deploy.scorer import Scorer
from distill.errors import ConfigError
from distill.logistic import Logistic4
from distill.scored import Doubtful, Scored
from distill.scoring.records import COLUMNS, read_earlier, record
from distill.specification import of_demo

LINE = Logistic4(slope=1.0, fallback="a line")


def scorer(calibration: Logistic4 | None = LINE, data: str | None = None, **spec: Any) -> Scorer:
    whole = {"provenance": {"data": data}} | spec
    views = {"frames": KeyFrames(4, 32)}
    return Scorer(whole, "f", "torch", calibration, iter, None, views)  # type: ignore[arg-type]


def row(model: Scorer, raw: float = 3.0, **info: Any) -> dict[str, Any]:
    known = VideoInfo(**({"num_frames": 50, "fps": 25.0, "width": 32, "height": 16} | info))
    scored = Scored(Row("a.mp4", Path("a.mp4")), raw, frame_scores=[raw] * 4, info=known)
    return record(model.judge(scored, True), model, True)


def test_the_scale_and_what_is_outside_of_it() -> None:
    model = scorer(score_range=[1.5, 4.25])
    assert list(row(model))[: len(COLUMNS)] == COLUMNS
    inside = row(model)
    assert (inside["scale_low"], inside["scale_high"], inside["note"]) == (1.5, 4.25, "")
    assert inside["frame_times"] == pytest.approx([0.24, 0.72, 1.24, 1.72])  # frames 6 18 31 43
    for raw in (1.4, 4.3):
        assert row(model, raw)["note"] == "outside the labels that it learned from, 1.5 to 4.25"
    assert row(scorer(), 99.0)["note"] == ""  # older bundles do not tell


def test_notes_on_the_video() -> None:
    hdr = row(scorer(), transfer="smpte2084", num_frames=1)
    assert hdr["note"] == (
        "HDR (smpte2084), frames are not tone-mapped; short: 1 different frames for 4 looks"
    )


def test_scores_have_the_digits_that_are_stable() -> None:
    told = row(scorer(), 3.123456789)
    assert (told["score"], told["raw"]) == (3.123457, 3.123457)
    assert told["frame_scores"] == [3.123457] * 4
    batched = row(scorer(), 3.123456789 - 2e-7)  # as measured between batches of 1 and of 2
    assert batched["score"] == pytest.approx(told["score"], abs=1.5e-6)


def test_a_video_whose_end_is_missing_has_a_note(caplog: pytest.LogCaptureFixture) -> None:
    cut = {"num_frames": 300, "missing": 143}
    assert row(scorer(), **cut)["note"] == "the file is truncated: 157 of 300 frames are whole"
    common = {"fps": 25.0, "width": 32, "height": 16}
    doubtful = Doubtful()
    doubtful.see([VideoInfo(**common, num_frames=300)])
    doubtful.tell()
    assert not caplog.messages
    doubtful.see([VideoInfo(**common, **cut)] * 2)
    doubtful.tell()
    assert caplog.messages[0].startswith("2 videos are truncated")


def test_what_is_no_mos_says_so_in_every_row() -> None:
    demo = "/x/demo-tiny-0123456789ab/manifest.csv"
    computed = {"data": "/x/ladder/manifest.csv", "labels": "vmaf"}
    for model, flags, words in (
        (scorer(), (True, False), ""),
        (scorer(None), (False, False), "UNCALIBRATED: the network's own scale, no MOS"),
        (scorer(LINE, demo), (True, True), "DEMO: learned from the demo data only, no MOS"),
        (scorer(provenance={"data": demo, "labels": "vmaf"}), (True, True), "DEMO: learned from the"
         " demo data only, no MOS"),
        (scorer(provenance=computed), (True, False), "VMAF: learned VMAF of processed copies,"
         " not people's opinions"),
        (scorer(provenance={**computed, "labels": "mos"}), (True, False), ""),
    ):  # fmt: skip
        found = row(model)
        assert (found["calibrated"], found["demo"]) == flags
        assert found["warning"] == words == model.warning
        assert bool(words) == bool(model.banner)
        assert words.partition(":")[0] in model.banner
    assert "UNCALIBRATED" in scorer(None, demo).warning and "DEMO" in scorer(None, demo).warning


@pytest.mark.parametrize(
    ("data", "demo"),
    [
        ("/c/demo-full-5db2c4f7ef87/manifest.csv", True),
        ("/data/demo/manifest.csv", False),
        ("/data/demo-full-videos/manifest.csv", False),
        ("/data/demo_reel.csv", False),
        (None, False),
    ],
)
def test_only_the_embedded_data_is_the_demo(data: str | None, demo: bool) -> None:
    assert of_demo({"provenance": {"data": data}}) is demo


def test_the_embedded_data_lies_where_it_is_known(demo_manifest: Path) -> None:
    assert of_demo({"provenance": {"data": str(demo_manifest)}})


def lines(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in rows)


@given(st.data())
def test_a_file_cut_anywhere_gives_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    rows = [row(scorer()) | {"video": name} for name in ("a", "b\nü", "c")]
    text = lines(*rows)
    cut = data.draw(st.integers(0, len(text)))
    path = tmp_path_factory.mktemp("cut") / "s.jsonl"
    path.write_bytes(text[:cut])
    found = read_earlier(str(path), "f", True)
    assert found == rows[: text[:cut].count(b"\n")]
    assert path.read_bytes() == lines(*found)  # so that the next line begins a line


def test_another_model_or_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    assert read_earlier(str(path), "f", True) == []
    good = row(scorer())
    for text, message in (
        (
            lines(good, good | {"model": "g"}),
            "line 2: was scored by model g, and this is f; give the bundle",
        ),
        (lines({"video": "a"}), "line 1: no line of this score.py"),
        (b"video,score\n", "line 1: no line of this score.py"),
        (b"3\n", "line 1: no line of this score.py"),
        (b"[]\n", "line 1: no line of this score.py"),
        (lines({"model": "f"}), r"line 1: no line .* \(columns are missing\)"),
        (b"\xff\n", "line 1: no line of this score.py"),
        (lines(good | {"model": "g"}) + b'{"vid', "line 1: was scored by model g"),
        (lines(good) + b"a video, say", "does not end in a line of score.py"),
        (b"\0\0\0 ftypisom", "does not end in a line of score.py"),
    ):
        path.write_bytes(text)
        with pytest.raises(ConfigError, match=message):
            read_earlier(str(path), "f", True)
        assert path.read_bytes() == text
    path.write_bytes(lines(good))
    with pytest.raises(ConfigError, match="was written with --frames; continue with it"):
        read_earlier(str(path), "f", False)
