"""The embedded data set: its camera, its splits, its cache and where its pictures come from."""

import csv
import importlib.util
import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from distill.cache import cache_folder
from distill.errors import ConfigError
from distill.ladder import demo
from distill.ladder.build import LadderRow
from distill.ladder.camera import camera_path, film
from distill.ladder.demo import make_demo
from distill.ladder.ffmpeg import LadderError

PHOTO, FILM = (640, 427), (320, 426)


def table(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("photo", [PHOTO, (451, 300), (512, 512), (1000, 872)])
def test_camera_stays_inside_moves_smoothly_and_keeps_aspect(
    photo: tuple[int, int], seed: int
) -> None:
    path = camera_path(photo, FILM, 48, 25.0, np.random.default_rng(seed))
    left, top, right, bottom = path.T
    assert left.min() >= -1e-9 and top.min() >= -1e-9
    assert right.max() <= photo[0] + 1e-9 and bottom.max() <= photo[1] + 1e-9
    assert (right - left) / (bottom - top) == pytest.approx(FILM[0] / FILM[1])

    # In output pixels: it moves, never by more than 8 a frame, and without jerks.
    scale = FILM[0] / (right - left)
    centre = np.stack([left + right, top + bottom], axis=1) / 2 * scale[:, None]
    step = np.diff(centre, axis=0)
    assert np.abs(step).mean() > 0.05 and np.abs(step).max() < 8
    assert np.abs(np.diff(step, axis=0)).max() < 2.5


def test_film_is_the_photograph_seen_through_the_path() -> None:
    """A ramp tells for every output pixel where in the photograph it was taken from."""
    width, height = PHOTO
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    ramp = np.stack([x * 255 / width, y * 255 / height, 0 * x + 128], axis=-1)
    frames = list(film(np.rint(ramp).astype(np.uint8), FILM, 5, 25.0, seed=3))
    path = camera_path(PHOTO, FILM, 5, 25.0, np.random.default_rng(3))
    for frame, (left, top, right, bottom) in zip(frames, path, strict=True):
        assert frame.shape == (FILM[1], FILM[0], 3) and frame.dtype == np.uint8
        at_x = left + (np.arange(FILM[0]) + 0.5) * (right - left) / FILM[0]
        at_y = top + (np.arange(FILM[1]) + 0.5) * (bottom - top) / FILM[1]
        across = frame[..., 0].mean(axis=0) - at_x * 255 / width
        down = frame[..., 1].mean(axis=1) - at_y * 255 / height
        # Noise and rounding vanish over half the frame, where half a pixel of shift would show as
        # 0.2 at least. The borders repeat pixels, so leave them out.
        for error in (across[4:-4], down[4:-4]):
            assert all(abs(half.mean()) < 0.1 for half in np.array_split(error, 2))


def test_film_noise_is_fresh_grey_and_seeded() -> None:
    flat = np.full((200, 300, 3), 120, np.uint8)
    frames = np.stack(list(film(flat, (64, 48), 4, 25.0, seed=1))).astype(float)
    assert np.array_equal(frames[..., 0], frames[..., 1])
    assert 0.5 < frames.std() < 2.5 and abs(frames.mean() - 120) < 0.1
    for one, other in itertools.combinations(frames[..., 0], 2):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1
    again = np.stack(list(film(flat, (64, 48), 4, 25.0, seed=1)))
    assert np.array_equal(again, frames)
    assert not np.array_equal(list(film(flat, (64, 48), 4, 25.0, seed=2)), frames)


def test_tiny_set(demo_manifest: Path) -> None:
    rows = table(demo_manifest)
    header = "video mos mos_std split group shot processing detail"
    assert list(rows[0]) == header.split()
    assert len(rows) == 56 and len({row["shot"] for row in rows}) == 8
    splits = defaultdict(set)
    for row in rows:
        splits[row["group"]].add(row["split"])
        if row["split"] == "pool":
            assert row["mos"] == ""
        else:
            assert 1 <= float(row["mos"]) <= 5
    assert all(len(found) == 1 for found in splits.values())
    assert set().union(*splits.values()) == {"train", "val", "test", "pool"}

    labels = np.array([float(row["mos"]) for row in rows if row["mos"]])
    assert labels.min() < 2.5 and labels.max() > 4.9
    assert (np.histogram(labels, [1, 3, 4, 5])[0] > 4).all()
    references = [float(r["mos"]) for r in rows if r["mos"] and r["processing"] == "reference"]
    assert min(references) > 4.9


def test_tiny_videos_are_what_they_should_be(demo_manifest: Path) -> None:
    sizes = set()
    for row in table(demo_manifest):
        with av.open(str(demo_manifest.parent / row["video"])) as container:
            frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
        height, width = frames[0].shape
        sizes.add(np.sign(width - height))
        assert len(frames) == 15 and min(width, height) == 128
        assert all(not np.array_equal(a, b) for a, b in itertools.pairwise(frames))
    assert sizes == {-1, 1}


def test_nothing_else_is_told_of_the_pool(demo_manifest: Path) -> None:
    """Not even a hidden note holds a label of the pool."""
    pool = {row["shot"] for row in table(demo_manifest) if row["split"] == "pool"}
    assert len(pool) == 2
    for shot in pool:
        for note in (demo_manifest.parent / ".ladder").glob(f"{shot}_*.json"):
            assert '"vmaf": null' in note.read_text()


def test_attribution_names_files_of_the_wheels(demo_manifest: Path) -> None:
    sources = table(demo_manifest.with_name("ATTRIBUTION.csv"))
    groups = {row["group"] for row in table(demo_manifest)}
    assert {row["group"] for row in sources} == groups
    for row in sources:
        package, _, inside = row["file"].partition("/")
        spec = importlib.util.find_spec(package)
        assert spec and spec.origin and (Path(spec.origin).parent / inside).is_file()
        assert row["wheel"].startswith("scikit-") and row["origin"]


def test_full_set_is_planned_as_documented() -> None:
    """Without building it: 27 shots of 16 contents, every split landscape, portrait too."""
    contents = demo._CONTENTS
    groups = [content.group for content in contents]
    assert len(set(groups)) == len(groups) == 16
    assert sum(len(content.aspects) for content in contents) == 27
    split_groups = defaultdict(list)
    portraits: set[str] = set()
    landscapes: set[str] = set()
    for content in contents:
        split_groups[content.split].append(content.group)
        for width, height in content.aspects:
            (landscapes if width > height else portraits).add(content.split)
    assert {split: len(found) for split, found in split_groups.items()} == {
        "train": 6,
        "pool": 4,
        "val": 3,
        "test": 3,
    }
    assert portraits == landscapes == set(split_groups)


def test_a_complete_cache_is_used_and_an_incomplete_one_continued(
    demo_manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILL_DEMO", "tiny")
    calls = []
    make_ladder = demo.make_ladder

    def counted(*args: Any, **kwargs: Any) -> list[LadderRow]:
        calls.append(1)
        return make_ladder(*args, **kwargs)

    monkeypatch.setattr(demo, "make_ladder", counted)
    videos = sorted((demo_manifest.parent / "videos").iterdir())
    stamps = [path.stat().st_mtime_ns for path in videos]
    text = demo_manifest.read_bytes()
    assert make_demo(progress=False) == demo_manifest and not calls
    # Else a folder that holds one size would pass for the other.
    assert demo._fingerprint("full") != demo._fingerprint("tiny")

    (demo_manifest.parent / ".complete").unlink()
    assert make_demo(progress=False) == demo_manifest and calls == [1]
    assert [path.stat().st_mtime_ns for path in videos] == stamps
    assert demo_manifest.read_bytes() == text


def test_cache_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "own" / "distill-vqa"
    monkeypatch.delenv("DISTILL_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "distill-vqa"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "distill-vqa"


def test_errors_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigError, match=r"no size 'huge' .from DISTILL_DEMO.: choose full or tiny"
    ):
        monkeypatch.setenv("DISTILL_DEMO", "huge")
        make_demo(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LadderError, match=r"wheel scikit-image, which is not .*: pip install"):
        make_demo(tmp_path, size="tiny")
    assert not list(tmp_path.iterdir())
