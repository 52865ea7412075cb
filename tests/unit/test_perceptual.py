"""Signatures: what a version keeps of a content, against PIL and scipy and files by ffmpeg."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from distill.data.identity import content_hash
from distill.data.perceptual import (
    LENGTH,
    THRESHOLD,
    Signature,
    comparable,
    distances,
    exact_hash,
    nearest,
)
from distill.data.reader import VideoInfo
from distill.data.readers import make_reader
from distill.data.signatures import SignatureStore, sign
from tests.helpers.video_files import X264, ffmpeg

# A still picture that pans (a crop that moves), so that the frames differ and are not flat.
_SOURCE = ["-f", "lavfi", "-i", "{kind}=size=480x360:rate=25:duration=1.6"]
VERSIONS: dict[str, list[str]] = {
    "again.mp4": [*X264, "-crf", "40"],
    "half.mp4": ["-vf", "scale=240:180", *X264, "-crf", "30"],
    "squeezed.mkv": ["-vf", "scale=360:360", *X264],
    "vp9.webm": ["-c:v", "libvpx-vp9", "-b:v", "60k", "-cpu-used", "8", "-deadline", "realtime"],
    "slow.mp4": ["-vf", "fps=12", *X264],
    "darker.mp4": ["-vf", "eq=gamma=0.7:contrast=0.9", *X264],
    "noisy.mp4": ["-vf", "noise=alls=18:allf=t", *X264],
    "edges.mp4": ["-vf", "crop=iw*0.95:ih*0.95", *X264],
    "late.mp4": ["-ss", "0.12", *X264],
}


def _view(frames: np.ndarray) -> np.ndarray:
    view = Signature()
    collector = view.begin(VideoInfo(len(frames), 25.0, frames.shape[2], frames.shape[1]), 0, False)
    for index in sorted(set(collector.indices.tolist())):
        collector.add(index, frames[index])
    found = collector.result()
    assert (found.shape, found.dtype) == (view.shape, np.uint8)
    return found


def _noise(frames: int, seed: int, size: int = 48) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (frames, 6, 6, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(f).resize((size, size))) for f in small])


def test_a_frames_bits_are_the_signs_of_its_lowest_waves() -> None:
    frames = _noise(8, 0)
    found = _view(frames)
    for at in range(8):
        small = np.asarray(Image.fromarray(frames[at]).resize((32, 32), Image.Resampling.BILINEAR))
        luma = small @ np.array([0.299, 0.587, 0.114])
        waves = dctn(luma, norm="ortho")
        # 64 lowest diagonals but the mean: all with y + x < 10, and the first ten of 10.
        order = [(y, s - y) for s in range(1, 11) for y in range(s + 1)][:64]
        bits = np.array([waves[at] for at in order])
        ours = np.unpackbits(found[8 * at : 8 * at + 8])
        clear = np.abs(bits) > 5  # PIL rounds between its two passes; signs near 0 may differ
        assert clear.sum() > 40
        np.testing.assert_array_equal(ours[clear], (bits > 0)[clear])
        assert found[64 + at] == pytest.approx(luma.std(), abs=1.5)


def test_short_videos_repeat_frames_and_places_are_the_middles_of_eighths() -> None:
    def wanted(count: int) -> list[int]:
        return Signature().begin(VideoInfo(count, 25.0, 8, 8), 0, False).indices.tolist()

    assert wanted(80) == [5, 15, 25, 35, 45, 55, 65, 75]
    assert wanted(1) == [0] * 8
    assert wanted(3) == [0, 0, 0, 1, 1, 2, 2, 2]


def test_distance_is_zero_to_itself_large_to_others_and_found_in_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    videos = np.stack([_view(_noise(8, seed)) for seed in range(12)])
    table = distances(videos, videos)
    assert (np.diag(table) == 0).all()
    assert table[~np.eye(12, dtype=bool)].min() > THRESHOLD
    whole = nearest(videos, videos[::-1])
    assert whole[0].tolist() == list(range(11, -1, -1)) and not whole[1].any()
    monkeypatch.setattr("distill.data.perceptual._CHUNK", 25)  # 2 videos at once
    for one, other in zip(nearest(videos, videos[::-1]), whole, strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.isinf(nearest(videos, videos[:0])[1]).all()


def test_each_frame_takes_the_nearest_of_three() -> None:
    frames = [_noise(1, seed)[0] for seed in range(9)]
    one, shifted = _view(np.stack(frames[:8])), _view(np.stack(frames[1:]))
    far = distances(one[None], _view(_noise(8, 99))[None])[0, 0]
    assert distances(shifted[None], one[None])[0, 0] < far / 6  # all but the last frame are there
    reverse = _view(np.stack(frames[:8][::-1]))
    assert distances(one[None], reverse[None])[0, 0] > THRESHOLD


def test_flat_frames_are_not_compared() -> None:
    frames = _noise(8, 0)
    black = np.zeros_like(frames)
    assert comparable(_view(frames)[None]).all() and not comparable(_view(black)[None]).any()
    assert np.isinf(distances(_view(black)[None], _view(black)[None])).all()
    other = _noise(8, 1)
    frames[:4], other[:4] = 0, 0  # the same black start
    assert distances(_view(frames)[None], _view(other)[None])[0, 0] > THRESHOLD
    frames[4] = 0  # three are left
    assert np.isinf(distances(_view(frames)[None], _view(other)[None]))[0, 0]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("versions")
    for kind in ("mandelbrot", "testsrc2"):
        source = [arg.format(kind=kind) for arg in _SOURCE]
        if kind == "mandelbrot":
            source = [*source[:-1], "mandelbrot=size=480x360:rate=25", "-t", "1.6"]
        ffmpeg(*source, *X264, "-crf", "18", "-g", "10", folder / f"{kind}.mp4")
    for name, how in VERSIONS.items():
        ffmpeg("-i", folder / "mandelbrot.mp4", *how, folder / name)
    ffmpeg("-i", folder / "mandelbrot.mp4", "-c", "copy", folder / "remuxed.mkv")
    return folder


def test_versions_are_near_and_other_contents_far(videos: Path, tmp_path: Path) -> None:
    paths = [videos / name for name in ("mandelbrot.mp4", "testsrc2.mp4", *VERSIONS)]
    store = SignatureStore(tmp_path)
    found, failed = sign(dict.fromkeys(paths, ""), make_reader("pyav"), store, 0)
    assert not failed
    table = np.stack([found[path] for path in paths])
    versions = distances(table[2:], table[:1])[:, 0]
    assert (versions <= THRESHOLD).all(), dict(zip(VERSIONS, versions, strict=True))
    assert distances(table[1:2], table[:1])[0, 0] > THRESHOLD + 3
    hashes = [exact_hash(found[path]) for path in paths]
    assert len(set(hashes)) == len(hashes)  # versions carry the signal: none is a copy


def test_another_container_has_the_same_frames(videos: Path, tmp_path: Path) -> None:
    paths = [videos / "mandelbrot.mp4", videos / "remuxed.mkv"]
    assert content_hash(paths[0]) != content_hash(paths[1])
    found, _ = sign(dict.fromkeys(paths, ""), make_reader("pyav"), SignatureStore(tmp_path), 0)
    assert exact_hash(found[paths[0]]) == exact_hash(found[paths[1]])


class _Counting:
    """A reader that counts, and fails on one file."""

    name = "counting"

    def __init__(self) -> None:
        self.reader, self.paths = make_reader("pyav"), list[Path]()

    def probe(self, path: Path) -> VideoInfo:
        return self.reader.probe(path)

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        self.paths.append(path)
        if path.name == "late.mp4":
            raise KeyboardInterrupt
        yield from self.reader.read(path, indices)


def test_signatures_are_made_once_per_content_and_survive_a_kill(
    videos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy, broken = tmp_path / "copy.mp4", tmp_path / "broken.mp4"
    copy.write_bytes((videos / "half.mp4").read_bytes())
    broken.write_bytes(b"nothing")
    good = [videos / name for name in ("half.mp4", "again.mp4", "slow.mp4", "noisy.mp4")]
    reader, store = _Counting(), SignatureStore(tmp_path / "store")
    with pytest.raises(KeyboardInterrupt):  # after the first batch of four
        sign(dict.fromkeys([*good, videos / "late.mp4"], ""), reader, store, 0)
    assert len(store.load()) == 4
    reader.paths.clear()
    paths = [*good, copy, broken, tmp_path / "missing.mp4", videos / "edges.mp4"]
    found, failed = sign(dict.fromkeys(paths, ""), reader, store, 0)
    assert reader.paths == [videos / "edges.mp4"]
    np.testing.assert_array_equal(found[copy], found[good[0]])
    assert set(failed) == {broken, tmp_path / "missing.mp4"} and set(found) == {
        *good, copy, videos / "edges.mp4"
    }  # fmt: skip
    (store.folder / "part-torn.parquet").write_bytes(b"torn")
    assert len(store.load()) == 5 and "part-torn.parquet: cannot be read" in caplog.text
    assert all(s.shape == (LENGTH,) for s in store.load().values())
