"""The ladder: labels against libvmaf's own log, bytes, interrupted builds, and what it refuses."""

import csv
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import av
import imageio_ffmpeg
import numpy as np
import pytest

from distill.errors import VideoError
from distill.ladder.build import make_ladder
from distill.ladder.ffmpeg import Ffmpeg, LadderError
from distill.ladder.recipes import RUNGS, Encode, Recipe
from distill.ladder.shots import LadderRow, Shot, write_manifest
from tests.helpers.video_files import X264, ffmpeg

FPS = 25.0
# The same shots for child processes, which import this module by its path.
CHILD = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("test_ladder", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.build(Path(sys.argv[2]), workers=1)
"""


def scene(seed: int, width: int = 128, height: int = 96, frames: int = 6) -> Iterator[np.ndarray]:
    """Smooth structure and fine texture that slide by two pixels a frame, with a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0 : width + 2 * frames].astype(np.float64)
    waves = sum(np.sin(x / 5 / (k + 1) + y / 7 * (k - 1) + rng.uniform(0, 6)) for k in range(4))
    texture = rng.normal(size=y.shape)
    photo = 128 + 22 * np.asarray(waves) + 14 * texture
    for t in range(frames):
        view = photo[:, 2 * t : 2 * t + width] + rng.normal(size=(height, width))
        grey = np.clip(np.rint(view), 0, 255).astype(np.uint8)
        yield np.stack([grey, 255 - grey, grey // 2 + 60], axis=-1)


def shots() -> list[Shot]:
    """One landscape shot with labels, one portrait shot without."""
    return [
        Shot("wide", partial(scene, 1), "a", FPS),
        Shot("tall", partial(scene, 2, 96, 128), "b", FPS, labelled=False),
    ]


def build(folder: Path, workers: int = 2, seed: int = 7) -> list[LadderRow]:
    """Build those shots with a manifest."""
    rows = make_ladder(shots(), folder, seed=seed, workers=workers, progress=False)
    write_manifest(rows, folder / "manifest.csv", {"a": "train", "b": "pool"})
    return rows


def digests(folder: Path) -> dict[str, str]:
    """Every file that is not hidden, and its hash."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".ladder" not in path.parts]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def decode(path: Path) -> np.ndarray:
    """(T, H, W) luma as float."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    return np.stack(frames).astype(np.float64)


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[LadderRow]]:
    folder = tmp_path_factory.mktemp("ladder")
    return folder, build(folder)


def test_rows(ladder: tuple[Path, list[LadderRow]]) -> None:
    folder, rows = ladder
    assert [row.video for row in rows] == [
        f"videos/{shot}_{version}.mp4" for shot in ("wide", "tall") for version in range(7)
    ]
    kinds = [row.processing for row in rows[:7]]
    assert kinds[:5] == ["reference", "transcode", "transcode", "transcode", "rescale"]
    assert kinds[5] in {"denoise", "blur", "noise"} and kinds[6] == "twice"
    bounds = [(24, 31), (32, 37), (38, 45)]
    for row, (low, high) in zip([*rows[1:4], *rows[8:11]], bounds * 2, strict=True):
        drawn = re.fullmatch(r"x264 qp=(\d+)", row.detail)
        assert drawn and low <= int(drawn.group(1)) <= high
    assert re.fullmatch(r"1/[23] bi\w+ x264 crf=\d\d", rows[4].detail)
    assert re.fullmatch(r"(x265|vp9) crf=\d\d then x264 qp=\d\d", rows[6].detail)
    for row, size in zip(rows, [(96, 128)] * 7 + [(128, 96)] * 7, strict=True):
        assert decode(folder / row.video).shape == (6, *size)


def test_label_is_the_mean_of_libvmafs_own_log(ladder: tuple[Path, list[LadderRow]]) -> None:
    folder, rows = ladder
    for row in (rows[0], rows[3], rows[6]):
        subprocess.run(
            [
                *(imageio_ffmpeg.get_ffmpeg_exe(), "-i", row.video, "-i", "videos/wide_0.mp4"),
                *("-lavfi", "libvmaf=log_fmt=json:log_path=log.json", "-f", "null", "-"),
            ],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        log = folder / "log.json"
        frames = [frame["metrics"]["vmaf"] for frame in json.loads(log.read_text())["frames"]]
        log.unlink()
        assert len(frames) == 6
        assert row.vmaf == pytest.approx(np.mean(frames), abs=1e-4)
        assert row.mos == pytest.approx(1 + 4 * np.mean(frames) / 100, abs=1e-5)


def test_coarser_quantisers_are_smaller_and_worse(ladder: tuple[Path, list[LadderRow]]) -> None:
    folder, rows = ladder
    sizes = [(folder / row.video).stat().st_size for row in rows[:4]]
    labels = [row.vmaf or 0.0 for row in rows[:4]]
    assert sizes == sorted(sizes, reverse=True) and labels == sorted(labels, reverse=True)
    assert labels[0] > 95 and labels[3] < labels[1] - 10


def test_manifest_hides_what_was_not_measured(ladder: tuple[Path, list[LadderRow]]) -> None:
    folder, rows = ladder
    with (folder / "manifest.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    header = "video mos mos_std split group shot processing detail"
    assert list(table[0]) == header.split()
    assert [record["mos"] for record in table[:7]] == [f"{row.mos:.4f}" for row in rows[:7]]
    assert {record["split"] for record in table[:7]} == {"train"}
    assert {(r["mos"], r["split"], r["group"]) for r in table[7:]} == {("", "pool", "b")}
    notes = [json.loads(p.read_text()) for p in (folder / ".ladder").glob("tall_*.json")]
    assert len(notes) == 7 and all(note["vmaf"] is None for note in notes)

    write_manifest(rows, folder / "bare.csv")
    assert "split" not in (folder / "bare.csv").read_text().splitlines()[0].split(",")
    (folder / "bare.csv").unlink()


def test_same_seed_same_bytes(ladder: tuple[Path, list[LadderRow]], tmp_path: Path) -> None:
    folder, rows = ladder
    assert build(tmp_path / "again", workers=1) == rows
    assert digests(tmp_path / "again") == digests(folder)
    other = make_ladder(shots()[:1], tmp_path / "other", seed=8, progress=False)
    assert [row.detail for row in other] != [row.detail for row in rows[:7]]


def test_a_finished_folder_is_left_alone_and_a_gap_is_filled(tmp_path: Path) -> None:
    make = partial(make_ladder, folder=tmp_path, rungs=RUNGS[:2], workers=1, progress=False)
    rows = make(shots()[:1])
    videos = sorted((tmp_path / "videos").iterdir())
    before = digests(tmp_path)
    stamps = [path.stat().st_mtime_ns for path in videos]
    (tmp_path / ".ladder" / "wide_1.json").write_text('{"key": "cut o')
    (tmp_path / "videos" / ".tmp-wide_2.mp4").write_bytes(b"half a video")
    assert make(shots()[:1]) == rows
    assert digests(tmp_path) == before
    same = [path.stat().st_mtime_ns == at for path, at in zip(videos, stamps, strict=True)]
    assert same == [True, False, True]
    videos[2].write_bytes(b"cut off")
    assert make(shots()[:1]) == rows and digests(tmp_path) == before

    changed = [Shot("wide", partial(scene, 3), "a", FPS, version="2")]
    assert make(changed)[1].vmaf != rows[1].vmaf
    assert not set(digests(tmp_path).values()) & set(before.values())


def test_killed_then_built_by_two_at_once(
    ladder: tuple[Path, list[LadderRow]], tmp_path: Path
) -> None:
    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", CHILD, __file__, str(tmp_path)]
        return subprocess.Popen(command, start_new_session=True)

    child = start()
    while not list(tmp_path.glob(".ladder/wide_1.json")):
        assert child.poll() is None, "the build ended before it could be killed"
        time.sleep(0.002)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    whole = digests(ladder[0])
    finished = {path.stem for path in (tmp_path / ".ladder").glob("*.json")}
    assert len(finished) < 14
    assert not (tmp_path / "manifest.csv").exists()
    for name, digest in digests(tmp_path).items():
        assert ".tmp-" in name or digest == whole[name]

    both = [start(), start()]
    assert [process.wait() for process in both] == [0, 0]
    assert digests(tmp_path) == whole


def test_file_source_is_cut_filtered_and_resampled(
    ladder: tuple[Path, list[LadderRow]], tmp_path: Path
) -> None:
    source = ladder[0] / "videos" / "wide_0.mp4"
    shot = Shot(
        *("part", source, "a"),
        start=0.5 / FPS,  # between two frames
        duration=4 / FPS,
        filters="crop=63:95:10:0",
    )
    (row,) = make_ladder([shot], tmp_path, rungs=[], progress=False)
    cut, whole = decode(tmp_path / row.video), decode(source)
    assert cut.shape == (4, 94, 62)
    assert np.abs(cut - whole[1:5, :94, 10:72]).mean() < 2.5
    double = Shot("fast", source, "a", fps=2 * FPS)
    (row,) = make_ladder([double], tmp_path, rungs=[], progress=False)
    assert len(decode(tmp_path / row.video)) == 12


@pytest.mark.parametrize("kind", ["rescale", "denoise", "blur", "noise"])
def test_distortions_do_what_their_names_say(kind: str, tmp_path: Path) -> None:
    (found,) = [r for rung in RUNGS for r in rung if r.processing == kind]
    strongest = {name: [list(values)[-1]] for name, values in found.draws.items()}
    recipe = Recipe(kind, (Encode("x264", "qp", 18, 18),), found.filters, strongest)
    make_ladder(shots()[1:], tmp_path, rungs=[[recipe]], progress=False)
    before, after = (decode(tmp_path / "videos" / f"tall_{v}.mp4") for v in (0, 1))
    assert after.shape == before.shape

    def detail(video: np.ndarray) -> float:
        return float(np.abs(np.diff(video, axis=2)).mean())

    if kind == "noise":
        assert detail(after) > 1.3 * detail(before)
        assert np.corrcoef((after - before)[0].ravel(), (after - before)[1].ravel())[0, 1] < 0.5
    else:
        assert detail(after) < 0.8 * detail(before)
    assert abs(after.mean() - before.mean()) < 2


def test_agrees_with_labels_made_elsewhere(shared_dir: Path) -> None:
    folder = shared_dir / "realladder"
    with (folder / "manifest.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    ffmpeg = Ffmpeg.find()
    for record in table[:7:2]:
        reference = folder / f"videos/{record['group']}_0.mp4"
        label = ffmpeg.vmaf(folder / record["video"], reference)
        assert label == pytest.approx(float(record["vmaf"]), abs=0.01)


def test_what_fails_is_left_out_where_somebody_listens(tmp_path: Path) -> None:
    def damaged() -> None:
        raise VideoError("b.mp4", "reader", "damaged")

    whole, bad = shots()[0], replace(shots()[1], name="bad", check=damaged)
    dropped = Recipe("drops", (Encode("x264", "qp", 20, 20),), "framestep=2")
    make = partial(make_ladder, folder=tmp_path, rungs=[RUNGS[0], [dropped]], progress=False)
    told: list[tuple[str, str]] = []
    rows = make([bad, whole], on_problem=lambda shot, error: told.append((shot.name, str(error))))
    assert [row.video for row in rows] == ["videos/wide_0.mp4", "videos/wide_1.mp4"]
    assert told[0] == ("bad", "b.mp4: reader: damaged")
    assert told[1][0] == "wide" and "version 2 (framestep=2): 3 frames of 6" in told[1][1]
    assert sorted(digests(tmp_path)) == [row.video for row in rows]
    with pytest.raises(VideoError, match="damaged"):
        make([bad])


def test_only_what_says_so_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged source on a disk with little room is a damaged source."""

    def failing(text: str) -> None:
        raise LadderError(f"bad: FFmpeg failed (exit 228): {text}")

    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=50 << 20))
    told: list[str] = []
    make = partial(make_ladder, folder=tmp_path, rungs=[], progress=False)
    make = partial(make, on_problem=lambda shot, error: told.append(shot.name))
    bad, full = (
        replace(shots()[0], name=name, check=partial(failing, text))
        for name, text in [("bad", "Invalid data"), ("full", "No space left on device")]
    )
    assert [row.shot for row in make([bad, shots()[0]])] == ["wide"] and told == ["bad"]
    with pytest.raises(LadderError, match="the disk is full; free some space"):
        make([full])


@pytest.mark.parametrize("labelled", [True, False])
def test_a_shot_without_a_frame_leaves_nothing(tmp_path: Path, labelled: bool) -> None:
    still = tmp_path / "still.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=160x128:rate=25", "-frames:v", "1", *X264, still)
    shot = Shot("still", still, "a", duration=0.001, start=0.03, labelled=labelled)
    with pytest.raises(LadderError, match=r"still\.mp4: no frame lies in the shot"):
        make_ladder([shot], tmp_path / "out", rungs=RUNGS[:1], progress=False)
    assert not digests(tmp_path / "out")


def test_stopped_ffmpeg_starts_nothing_more(ladder: tuple[Path, list[LadderRow]]) -> None:
    ffmpeg, video = Ffmpeg.find(), ladder[0] / "videos" / "wide_0.mp4"
    ffmpeg.stop()
    with pytest.raises(LadderError, match="stopped"):
        ffmpeg.vmaf(video, video)


def fake_ffmpeg(folder: Path, text: str) -> str:
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\nprintf '{text}'\n")
    path.chmod(0o755)
    return str(path)


def test_ffmpeg_that_is_missing_or_lacks_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nowhere"))
    with pytest.raises(LadderError, match=r"no working FFmpeg .*nowhere.*imageio-ffmpeg"):
        build(tmp_path)
    encoders = "".join(f" V....D lib{name} text\\n" for name in ("x264", "x265", "vpx-vp9"))
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", fake_ffmpeg(tmp_path, encoders))
    with pytest.raises(LadderError, match="ffmpeg: this FFmpeg was built without libvmaf"):
        build(tmp_path)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", fake_ffmpeg(tmp_path, " V....D libx264 text\\n"))
    with pytest.raises(LadderError, match="without libvpx-vp9"):
        build(tmp_path)


def test_what_it_refuses(tmp_path: Path) -> None:
    frames = partial(scene, 1)

    def uneven() -> Iterator[np.ndarray]:
        yield np.zeros((64, 64, 3), np.uint8)
        yield np.zeros((64, 66, 3), np.uint8)

    text = tmp_path / "text.mp4"
    text.write_text("no video")
    make = partial(make_ladder, folder=tmp_path / "out", rungs=[], progress=False)
    with pytest.raises(LadderError, match="no shots"):
        make([])
    with pytest.raises(LadderError, match="workers=0"):
        make([Shot("a", frames, "a", FPS)], workers=0)
    with pytest.raises(LadderError, match="two shots are named a:"):
        make([Shot("a", frames, "a", FPS), Shot("A", frames, "a", FPS)])
    with pytest.raises(LadderError, match="shot 'a/b': the name becomes a file name"):
        Shot("a/b", frames, "a", FPS)
    with pytest.raises(LadderError, match=r"shot a: there is no file .*gone\.mp4"):
        Shot("a", tmp_path / "gone.mp4", "a")
    with pytest.raises(LadderError, match=r"shot a: .*fps=None"):
        Shot("a", frames, "a")
    with pytest.raises(LadderError, match=r"text\.mp4: FFmpeg failed .*Invalid data"):
        make([Shot("a", text, "a")])
    with pytest.raises(LadderError, match=r"shot a: frame 1 is uint8 \(64, 66, 3\)"):
        make([Shot("a", uneven, "a", FPS)])
    with pytest.raises(LadderError, match="shot a: its function yields no frames"):
        make([Shot("a", list, "a", FPS)])
    with pytest.raises(LadderError, match=r"text\.mp4: cannot be made .*; choose another"):
        make_ladder([Shot("a", frames, "a", FPS)], text)
    with pytest.raises(LadderError, match=r"recipe odd: .* names mpeg2"):
        Recipe("odd", (Encode("mpeg2", "qp", 1, 2),))
    assert not [name for name in digests(tmp_path / "out") if ".tmp-" not in name]
