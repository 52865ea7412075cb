"""The table and the pictures."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from distill.errors import OutputError
from distill.scoring.pictures import Pictures
from distill.scoring.records import COLUMNS
from distill.scoring.writers import table

SOUND: dict[str, Any] = dict.fromkeys(COLUMNS) | {
    "video": "a.mp4", "score": 3.456, "scale_low": 1.0, "scale_high": 5.0, "calibrated": True,
    "warning": "", "width": 640, "height": 360, "fps": 29.97, "duration": 8.25, "note": "",
    "error": "", "frame_scores": [2.0, 4.0], "frame_times": [1.0, 3.0],
}  # fmt: skip
BROKEN = SOUND | {"video": "long name.mp4", "score": None, "error": "no stream", "frame_scores": []}


def test_the_plain_table() -> None:
    assert table([SOUND, BROKEN], course=False) == [
        "video          score  size          fps  seconds",
        "a.mp4           3.46  640x360      30.0      8.2",
        "long name.mp4  failed: no stream",
        "The labels that the model learned from go from 1 to 5.",
    ]


def test_courses_share_one_scale_that_the_header_tells() -> None:
    other = SOUND | {"video": "b.mp4", "frame_scores": [3.0, 3.0, 3.0], "note": "HDR"}
    found = table([SOUND, other, BROKEN], True, "utf-8")
    assert found[0].endswith("seconds  2.00 to 4.00  note")
    assert found[1].endswith("8.2  ▁█")
    assert found[2].endswith("8.2  ▅▅▅           HDR")
    assert table([SOUND], True, "ascii")[1].endswith("8.2  _#")
    assert table([SOUND | {"frame_scores": []}], True, "ascii")[1].endswith("8.2")


def test_a_name_cannot_write_on_the_terminal() -> None:
    evil = "a\n\x1b[2J\u202egpj.mp4"
    found = table([SOUND | {"video": evil}, BROKEN | {"video": evil, "error": evil}], course=False)
    assert found[1].startswith("a\\n\\x1b[2J\\u202egpj.mp4   3.46")
    assert found[2] == "a\\n\\x1b[2J\\u202egpj.mp4  failed: a\\n\\x1b[2J\\u202egpj.mp4"
    assert len(found) == 4


def test_a_warning_ends_the_table() -> None:
    raw = SOUND | {"warning": "UNCALIBRATED: no MOS", "calibrated": False}
    found = table([raw, BROKEN], course=False)
    assert found[-1] == "!! UNCALIBRATED: no MOS !!"
    assert not any(line.startswith("The labels") for line in found)
    assert table([], course=True) == ["video  score  size          fps  seconds"]


def test_every_video_has_a_picture_of_its_own_name(tmp_path: Path) -> None:
    names = ["in/a.mp4", "in_a.mp4", "IN/A.mp4", "../$x^{.mp4", "中" * 300, "///"]
    pictures = Pictures(tmp_path)
    pictures.add(SOUND | {"video": "in/a.mp4"}, False)  # an earlier run has drawn this one
    for name in names[1:]:
        pictures.add(SOUND | {"video": name}, True)
    pictures.add(BROKEN, True)
    pictures.close()
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {
        "in_a.mp4-2.png", "IN_A.mp4-3.png", "x_.mp4.png", f"{'中' * 66}.png", "video.png",
    }  # fmt: skip


def test_a_picture_shows_the_course(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path)
    for video, scores in (("up", [1.0, 5.0]), ("down", [5.0, 1.0])):
        pictures.add(SOUND | {"video": video, "frame_scores": scores}, True)
    up, down = (imread(tmp_path / f"{name}.png") for name in ("up", "down"))
    assert up.shape == down.shape and (up != down).any()


def test_a_picture_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.mp4.png").mkdir()
    with pytest.raises(OutputError, match=r"a\.mp4\.png: cannot be written \(Is a directory\)"):
        Pictures(tmp_path).add(SOUND, True)


def test_a_model_without_scores_of_frames_is_told(tmp_path: Path, capsys: Any) -> None:
    pictures = Pictures(tmp_path)
    pictures.add(SOUND | {"frame_scores": []}, True)
    pictures.add(BROKEN, True)
    pictures.close()
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().err == "no picture of 1 videos, which have no scores of frames\n"
