"""`python score.py` as it is typed: pipes, kills, broken files. Exports, which start at once."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from distill.data.readers import make_reader
from distill.data.views import KeyFrames
from tests.helpers.brightness_export import brightness_export
from tests.helpers.video_files import make_clip

DEMO = "/nowhere/demo-full-0123456789ab/manifest.csv"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos, one of them in a folder, and one that is none."""
    folder, sources = tmp_path_factory.mktemp("clips"), tmp_path_factory.mktemp("sources")
    (folder / "deep").mkdir()
    for name, place in (("plain", "a"), ("odd", "b [1]"), ("tiny", "deep/c")):
        shutil.copy(make_clip(sources, f"{name}.mp4"), folder / f"{place}.mp4")
    (folder / "broken.mp4").write_bytes(b"no video at all")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that says it learned from the demo."""
    folder = tmp_path_factory.mktemp("model") / "export"
    return brightness_export(folder, provenance={"data": DEMO}, score_range=[1.0, 5.0])


def command(model: Path | None, *words: str) -> list[str]:
    bundle = [] if model is None else ["--bundle", str(model), "--workers", "0"]
    return [sys.executable, str(ROOT / "score.py"), *words, *bundle]


def run(
    model: Path | None, cwd: Path, *words: str, stdin: bytes = b"", **environment: str
) -> tuple[int, str, str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command(model, *words), cwd=cwd, input=stdin, capture_output=True, timeout=120,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_help_loads_no_network_library() -> None:
    told = subprocess.run(
        [sys.executable, "-X", "importtime", str(ROOT / "score.py"), "--help"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "--jsonl FILE" in told.stdout and "Exit code:" in told.stdout
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in told.stderr.splitlines()}
    assert "argparse" in loaded
    assert not loaded & {"torch", "onnxruntime", "matplotlib", "av", "scipy", "pyarrow"}


def test_files_patterns_lists_and_broken_ones_mixed(
    model: Path, clips: Path, tmp_path: Path
) -> None:
    (clips / "l.txt").write_text("a.mp4\ndeep/gone.mp4\n")
    names = ["broken.mp4", "gone.mp4", "**/c.mp4", "l.txt", "b [1].mp4"]
    files = {kind: tmp_path / f"s.{kind}" for kind in ("csv", "json", "jsonl")}
    words = [word for kind, path in files.items() for word in (f"--{kind}", str(path))]
    code, out, err = run(model, clips, *names, *words, "--frames")
    assert (code, out) == (1, "")
    in_order = ["broken.mp4", "gone.mp4", "deep/c.mp4", "a.mp4", "deep/gone.mp4", "b [1].mp4"]
    found = json.loads(files["json"].read_text())
    assert [row["video"] for row in found] == in_order
    assert rows(files["jsonl"].read_text()) == found
    with files["csv"].open(newline="") as file:
        table = list(csv.DictReader(file))
    for cells, row in zip(table, found, strict=True):
        assert list(cells) == list(row)
        assert cells["video"] == row["video"] and cells["error"] == row["error"]
        assert cells["demo"] == "true" and row["demo"] is True
        assert cells["warning"] == row["warning"] == "DEMO: learned from the demo data only, no MOS"
        assert (row["scale_low"], row["scale_high"]) == (1, 5)
        assert bool(row["error"]) == (row["score"] is None) == (cells["score"] == "")
        assert cells["frame_scores"] == " ".join(map(str, row["frame_scores"]))
    assert found[1]["error"] == f"no such file: {clips}/gone.mp4"
    # 30 frames of 25 a second, of which the middle ones of two halves are looked at.
    assert found[3]["frame_times"] == [7 / 25, 22 / 25]
    # The network says the mean level of a frame; 0..255 is 1..5.
    reader, path = make_reader("auto"), clips / "a.mp4"
    info = reader.probe(path)
    collector = KeyFrames(2, 32).begin(info, 0, False)
    for index, frame in reader.read(path, [7, 22]):
        collector.add(index, frame)
    levels = collector.result().mean((1, 2, 3))
    assert found[3]["frame_scores"] == pytest.approx((1 + 4 * levels / 255).tolist(), abs=1e-5)
    assert found[3]["score"] == pytest.approx(1 + 4 * levels.mean() / 255, abs=1e-5)
    assert "3 of 6 videos could not be scored:\n  broken.mp4: " in err
    assert "! DEMO: bundle " in err and "scoring" in err


def test_quiet_hides_progress_and_no_warning(model: Path, clips: Path) -> None:
    code, out, err = run(model, clips, "a.mp4", "broken.mp4", "--quiet")
    assert code == 1
    assert "scoring" not in err and "wrote" not in err
    assert "! DEMO: bundle " in err and "broken.mp4: " in err
    assert out.splitlines()[-1] == "!! DEMO: learned from the demo data only, no MOS !!"
    assert out.splitlines()[-2] == "The labels that the model learned from go from 1 to 5."


def test_uncalibrated_scores_say_so_everywhere(model: Path, clips: Path, tmp_path: Path) -> None:
    raw = shutil.copytree(model, tmp_path / "raw")
    spec = json.loads((raw / "spec.json").read_text())
    spec |= {"calibration": None, "provenance": {"data": None}}
    (raw / "spec.json").write_text(json.dumps(spec))
    code, out, err = run(raw, clips, "a.mp4", "--jsonl", "-", "--quiet")
    (row,) = rows(out)
    assert code == 0 and "! UNCALIBRATED: bundle " in err
    assert (row["calibrated"], row["demo"], row["score"]) == (False, False, row["raw"])
    assert row["warning"].startswith("UNCALIBRATED")


def test_names_come_through_a_pipe(model: Path, clips: Path) -> None:
    names = b"deep/c.mp4\0a.mp4\0"
    code, out, _ = run(model, clips, "-", "-0", "--jsonl", "-", stdin=names)
    assert code == 0 and [row["video"] for row in rows(out)] == ["deep/c.mp4", "a.mp4"]
    both = rows(run(model, clips, "-", "--jsonl", "-", stdin=b"a.mp4\ndeep/c.mp4\n")[1])
    assert both == rows(out)[::-1]  # in another order, the same scores to the last bit
    code, out, err = run(model, clips, "-", "--jsonl", "-")
    assert (code, out) == (2, "")
    assert err == "error: standard input: it has no names of videos\n"


def test_streams_that_the_caller_closed_lead_nowhere(
    model: Path, clips: Path, tmp_path: Path
) -> None:
    def closed(ends: str, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["bash", "-c", f'exec "$@" {ends}', "-", *command(model, *words)], cwd=clips,
            capture_output=True, timeout=60,
        )  # fmt: skip

    scores = tmp_path / "s.csv"
    assert closed("<&- >&- 2>&-", "a.mp4", "--csv", str(scores)).returncode == 0
    assert len(scores.read_text().splitlines()) == 2  # and nothing that was meant for a stream
    assert closed(">&-", "a.mp4", "--quiet").returncode == 0
    nothing = closed("<&-", "-")
    assert nothing.returncode == 2
    assert nothing.stderr == b"error: standard input: it has no names of videos\n"


def test_a_full_standard_output_is_told(model: Path, clips: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command(model, "a.mp4", "--jsonl", "-", "--quiet"), cwd=clips, stdout=full,
            stderr=subprocess.PIPE, timeout=60,
        )  # fmt: skip
    assert done.returncode == 4
    assert b"error: standard output: cannot be written (No space left" in done.stderr


def test_sparklines_are_plain_where_the_terminal_is(model: Path, clips: Path) -> None:
    tables = {
        encoding: run(model, clips, "a.mp4", "--sparkline", PYTHONIOENCODING=encoding)[1]
        for encoding in ("utf-8", "ascii")
    }
    courses = {name: text.splitlines()[1].split()[5] for name, text in tables.items()}
    assert sorted(courses["utf-8"]) == ["▁", "█"]
    assert courses["ascii"] == courses["utf-8"].translate({ord("▁"): "_", ord("█"): "#"})


def test_a_kill_loses_no_line_and_resume_goes_on(model: Path, clips: Path, tmp_path: Path) -> None:
    for at in range(40):
        (tmp_path / f"{at:02}.mp4").symlink_to(clips / "a.mp4")
    (tmp_path / "05.mp4").unlink()
    (tmp_path / "05.mp4").write_bytes(b"broken")
    words = [str(tmp_path), "--jsonl", str(tmp_path / "s.jsonl"), "--quiet"]
    killed = subprocess.Popen(
        # Its pipe takes fewer bytes than the table has, so that it cannot end before.
        command(model, *words, "--csv", "-"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        bufsize=0, pipesize=4096,
    )  # fmt: skip
    assert killed.stdout is not None
    seen = [killed.stdout.readline() for _ in range(4)]  # the header and three videos
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = (tmp_path / "s.jsonl").read_text()
    assert 3 <= before.count("\n") < 40
    kept = [row["video"] for row in rows(before[: before.rfind("\n") + 1])]
    assert kept[:3] == [line.decode().split(",")[0] for line in seen[1:]]

    code, out, err = run(model, tmp_path, *words, "--resume", "--csv", "-")
    after = (tmp_path / "s.jsonl").read_text()
    assert code == 1 and "1 of 40 videos could not be scored" in err
    assert after.startswith(before[: before.rfind("\n") + 1])
    found = rows(after)
    assert [Path(row["video"]).stem for row in found] == [f"{at:02}" for at in range(40)]
    assert len({row["score"] for row in found if not row["error"]}) == 1
    assert len(out.splitlines()) == 41  # the other outputs have the earlier ones as well

    assert run(model, tmp_path, *words, "--resume")[0] == 1  # nothing is left; one has failed
    assert (tmp_path / "s.jsonl").read_text() == after
    (tmp_path / "s.jsonl").write_text(after.replace(found[0]["model"], "another"))
    code, _, err = run(model, tmp_path, *words, "--resume")
    assert code == 2 and "line 1: was scored by model another" in err


def test_a_reader_that_stops_reading_is_no_error(model: Path, clips: Path, tmp_path: Path) -> None:
    for at in range(40):
        (tmp_path / f"{at:02}.mp4").symlink_to(clips / "a.mp4")
    piped = subprocess.Popen(
        command(model, str(tmp_path), "--jsonl", "-", "--quiet"), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, bufsize=0, pipesize=4096,
    )  # fmt: skip
    assert piped.stdout is not None and piped.stderr is not None
    assert json.loads(piped.stdout.readline())["video"].endswith("00.mp4")
    piped.stdout.close()
    told = piped.stderr.read().decode()
    assert piped.wait(60) == 128 + signal.SIGPIPE
    assert "Traceback" not in told and "Error" not in told


def test_a_file_that_cannot_grow_is_told_and_resumed(
    model: Path, clips: Path, tmp_path: Path
) -> None:
    words = ["a.mp4", "b [1].mp4", "deep", "--jsonl", str(tmp_path / "s.jsonl"), "--frames"]
    # Without a time limit: the process that it needs passes frames through a file.
    words += ["--quiet", "--time-limit", "none"]
    limited = subprocess.run(
        # As a full disk does, a limit of a block lets a line be written in part.
        ["bash", "-c", 'ulimit -f 1; exec "$@"', "-", *command(model, *words)], cwd=clips,
        capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert limited.returncode == 4 and "Traceback" not in limited.stderr
    assert "s.jsonl: cannot be written (File too large); " in limited.stderr
    part = (tmp_path / "s.jsonl").read_bytes()
    assert 0 < part.count(b"\n") < 3 and not part.endswith(b"\n")
    code, _, err = run(model, clips, *words, "--resume")
    assert code == 0 and "its last line was cut off; that video is scored again" in err
    found = rows((tmp_path / "s.jsonl").read_text())
    assert [row["video"] for row in found] == ["a.mp4", "b [1].mp4", "deep/c.mp4"]


def test_pictures_are_made(model: Path, clips: Path, tmp_path: Path) -> None:
    words = ["a.mp4", "deep", "--plots", str(tmp_path / "new" / "plots"), "--csv", "-"]
    code, out, _ = run(model, clips, *words)
    assert code == 0 and "frame_scores" not in out
    found = sorted(path.name for path in (tmp_path / "new" / "plots").iterdir())
    assert found == ["a.mp4.png", "deep_c.mp4.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--csv", "-", "--jsonl", "-"], "standard output takes one of"),
        (["--csv", "-", "--sparkline"], "standard output takes one of"),
        (["--resume"], "--resume continues a file of JSON lines: --jsonl FILE"),
        (["--resume", "--jsonl", "-"], "--resume continues a file"),
        (["--jsonl", "{new}", "--csv", "{new}"], "two outputs would go to this file"),
        (["--jsonl", "a.mp4"], "a.mp4: is one of the inputs"),
        (["--jsonl", "no/such"], "no/such: cannot be written"),
        (["--resume", "--jsonl", "/dev/null"], "/dev/null is no regular file"),
        (["--plots", "a.mp4"], "--plots a.mp4: cannot be made (File exists)"),
        (["--batch-size", "0"], "--batch-size at least 1"),
        (["\x1b[2J*.mp4"], "\\x1b[2J*.mp4: no video found"),
    ],
)
def test_what_has_no_sense_is_told_before_anything_is_scored(
    words: list[str], message: str, clips: Path, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in clips.glob("*.mp4")}
    filled = [word.format(new=tmp_path / "new") for word in words]
    code, out, err = run(None, clips, ".", *filled, DISTILL_OUTPUTS=str(tmp_path))
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and message in err and len(err.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in clips.glob("*.mp4")} == before
