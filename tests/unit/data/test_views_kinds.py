"""Each kind of view: which pixels it shows, where it pads, and how it is named in options."""

import hashlib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from distill.data.reader import VideoInfo
from distill.data.sampling import fragment_clips
from distill.data.views import (
    VIEW_KINDS,
    Fragments,
    KeyFrames,
    MotionChunks,
    NativePatches,
    TexturePatches,
    View,
    make_view,
)
from distill.data.views import motion_chunks as motion_chunks_module
from distill.data.views.texture_patches import laplacian_variance
from distill.errors import ConfigError

MakeFrame = Callable[[int], np.ndarray]
CLIPS = Fragments(3, 16, num_clips=2, clip_len=4, frame_interval=2, aligned=2)


def collect(
    view: View, make: MakeFrame, num_frames: int, fps: float = 25.0, seed: int = 0,
    train: bool = False,
) -> tuple[np.ndarray, Tensor]:  # fmt: skip
    height, width = make(0).shape[:2]
    collector = view.begin(VideoInfo(num_frames, fps, width, height), seed, train)
    for index in np.unique(collector.indices).tolist():
        collector.add(index, make(index))
    return collector.indices, torch.from_numpy(collector.result())


def numbered(height: int = 40, width: int = 60) -> MakeFrame:
    """Frames that are their own number."""
    return lambda index: np.full((height, width, 3), index, dtype=np.uint8)


def places(height: int, width: int) -> MakeFrame:
    """Frames whose pixels say where they are: row, column, frame."""

    def make(index: int) -> np.ndarray:
        y, x = np.mgrid[:height, :width]
        return np.stack([y, x, np.full_like(x, index)], axis=-1).astype(np.uint8)

    return make


def noise(height: int, width: int) -> MakeFrame:
    return lambda index: np.random.default_rng(index).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )


def shown(out: Tensor) -> list[Any]:
    """The number that each frame of a tensor (..., 3, S, S) shows."""
    first = out[..., :1, :1, :1]
    assert (out == first).all()
    return first[..., 0, 0, 0].tolist()


def test_key_frames_of_seconds_and_their_padding() -> None:
    # 60 frames at 25: 0, 25 and 50 exist; 12 and 37 do, 62 does not.
    view = KeyFrames(4, 16, sampling="second_start")
    assert shown(collect(view, numbered(), 60)[1]) == [0, 25, 50, 50]
    indices, out = collect(replace(view, padding="zero"), numbered(), 60)
    assert indices.tolist() == [0, 25, 50]  # what does not exist is not asked for
    assert shown(out + (torch.arange(4) < 3)[:, None, None, None]) == [1, 26, 51, 0]
    middle = replace(view, sampling="second_middle")
    assert shown(collect(middle, numbered(), 60)[1]) == [12, 37, 37, 37]
    assert shown(collect(KeyFrames(4, 16, padding="zero"), numbered(), 2)[1]) == [0, 1, 0, 0]


def test_stills_of_seconds_share_their_frames_with_key_frames() -> None:
    key = KeyFrames(4, 16, sampling="second_middle", train_frames=2)
    still = Fragments(2, 8, 4, 1, sampling="second_middle", train_clips=2)
    for train in (False, True):
        frames = [collect(view, numbered(), 500, 30.0, 5, train) for view in (key, still)]
        assert frames[0][0].tolist() == frames[1][0].tolist()
    assert collect(still, numbered(), 500, 30.0)[0].tolist() == [15, 45, 75, 105]
    assert frames[1][1].shape == (2, 1, 3, 16, 16)


def test_temporal_fragments_are_those_of_the_sampling() -> None:
    view = Fragments(2, 8, num_clips=2, clip_len=8, t_frag=4, aligned=2)
    indices, out = collect(view, numbered(), 200, seed=9)
    expected = fragment_clips(2, 8, 2, 200, np.random.default_rng([9, 0]), t_frag=4)
    assert shown(out) == expected.tolist() == indices.reshape(2, 8).tolist()


def test_motion_chunks_show_consecutive_frames() -> None:
    view = MotionChunks(4, 8, 16)
    _, out = collect(view, numbered(), 60)  # at 25: two chunks
    chunks = [list(range(8)), list(range(25, 33)), list(range(25, 33)), list(range(25, 33))]
    assert shown(out) == chunks
    # One more frame than 50: the third second has begun but is not whole.
    assert shown(collect(view, numbered(), 51)[1]) == chunks
    out = collect(replace(view, padding="zero"), numbered(), 30)[1]  # one chunk
    assert shown(out) == [list(range(8)), [0] * 8, [0] * 8, [0] * 8]
    assert shown(collect(view, numbered(), 5)[1])[3] == [0, 1, 2, 3, 4, 4, 4, 4]


def test_a_frame_of_two_chunks_is_resized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    resize = motion_chunks_module.resize

    def counted(image: np.ndarray, height: int, width: int) -> np.ndarray:
        done.append(int(image[0, 0, 0]))
        return resize(image, height, width)

    monkeypatch.setattr(motion_chunks_module, "resize", counted)
    out = collect(MotionChunks(3, 32, 8), numbered(), 75)[1]  # 0-31, 25-56, 50-74 and six more
    assert done == list(range(75))
    assert shown(out)[2] == [*range(50, 75), *[74] * 7]


def test_motion_chunks_are_squeezed_as_pillow_does() -> None:
    make = noise(90, 160)
    out = collect(MotionChunks(1, 2, 32), make, 2)[1]
    for index in range(2):
        expected = np.asarray(Image.fromarray(make(index)).resize((32, 32), Image.BILINEAR))
        assert np.abs(out[0, index].permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


def test_native_patches_by_hand() -> None:
    # 48 x 80, patches of 16 at stride 16: 3 rows of 5. Five wanted: number 0, 3, 6, 9, 12.
    view = NativePatches(2, 5, 16, 16)
    _, out = collect(view, places(48, 80), 100)
    corners = [(0, 0), (0, 48), (16, 16), (16, 64), (32, 32)]
    for frame, index in enumerate([25, 75]):
        for patch, (top, left) in enumerate(corners):
            cut = places(48, 80)(index)[top : top + 16, left : left + 16]
            assert np.array_equal(out[frame, patch].permute(1, 2, 0).numpy(), cut)
    # 16 x 24 at stride 8: two patches; of five, three show the first.
    _, out = collect(NativePatches(1, 5, 16, 8), places(16, 24), 1)
    assert out[0, :, 1, 0, 0].tolist() == [0, 0, 0, 8, 8]
    # 12 x 30 is enlarged to 16 x 40.
    _, out = collect(NativePatches(1, 2, 16, 24), noise(12, 30), 1)
    large = np.asarray(Image.fromarray(noise(12, 30)(0)).resize((40, 16), Image.BILINEAR))
    for patch, left in enumerate((0, 24)):
        found = out[0, patch].permute(1, 2, 0).numpy().astype(int)
        assert np.abs(found - large[:, left : left + 16]).max() <= 1


@pytest.mark.parametrize(
    ("height", "width", "corners"),
    [
        # LIQE's data sets. 1080 x 1920 becomes 768 x 1365: wide, stride 48, 12 rows of 24.
        # 288 // 15 = 19: numbers 0, 19, 38; 38 is row 1, column 14.
        (1080, 1920, [(0, 0), (0, 912), (48, 672)]),
        # One side below 768 is not resized; 1100 is wide: stride 48, 10 rows of 19, 190 // 15 = 12.
        (700, 1100, [(0, 0), (0, 576), (48, 240)]),
        # 768 x 1000: not wide, stride 32, 18 rows of 25, 450 // 15 = 30.
        (768, 1000, [(0, 0), (32, 160), (64, 320)]),
    ],
)
def test_native_patches_of_liqe_s_data_sets(
    height: int, width: int, corners: list[tuple[int, int]]
) -> None:
    frame = noise(height, width)(0)
    _, out = collect(NativePatches(1, short_side=768), lambda _: frame, 1)
    small = Image.fromarray(frame)
    if min(height, width) > 768:
        small = small.resize((round(width * 768 / height), 768), Image.BILINEAR)
    for patch, (top, left) in enumerate(corners):
        cut = np.asarray(small)[top : top + 224, left : left + 224].astype(int)
        assert np.abs(out[0, patch].permute(1, 2, 0).numpy() - cut).max() <= 1


def test_native_patches_are_drawn_anew_for_each_frame_in_training() -> None:
    view = NativePatches(3, 4, 16, 8, train_patches=2, train_frames=5)
    seen = set()
    for seed in range(40):
        _, out = collect(view, places(48, 80), 100, seed=seed, train=True)
        assert out.shape == (5, 2, 3, 16, 16)
        drawn = [tuple(c[:2, 0, 0].tolist()) for c in out.flatten(0, 1)]
        assert all(top % 8 == 0 and left % 8 == 0 for top, left in drawn)
        seen.update(drawn)
        assert len(set(drawn)) > 2
    assert len(seen) == 45  # 5 rows of 9: every patch, sooner or later


def checks(height: int, width: int, textured: set[tuple[int, int]]) -> np.ndarray:
    """A grey frame of cells of 16 with single white dots in the textured ones."""
    frame = np.full((height, width, 3), 90, dtype=np.uint8)
    for row, column in textured:
        frame[row * 16 + 8, column * 16 + 8] = 255
        frame[row * 16 + 4, column * 16 + 4] = row * 10 + column  # names the cell
    return frame


def test_texture_patches_leave_flat_ones_out() -> None:
    # 50 x 84: 3 rows of 5 cells, a margin of 1 above and 2 to the left.
    frame = np.full((50, 84, 3), 90, dtype=np.uint8)
    frame[1:49, 2:82] = checks(48, 80, {(0, 1), (1, 3), (1, 4), (2, 0), (2, 2)})

    def named(patches: int) -> list[int]:
        out = collect(TexturePatches(1, patches, 16, threshold=50), lambda _: frame, 1)[1]
        return out[0, :, 0, 4, 4].tolist()

    assert named(5) == [1, 13, 14, 20, 22]
    assert named(2) == [1, 14]  # every second
    assert named(6) == [90, 1, 13, 14, 20, 22]  # and the first of the flat ones
    assert named(30) == [n for n in named(15) for _ in range(2)]


def test_texture_patches_in_training_draw_among_the_textured_ones() -> None:
    frame = checks(48, 80, {(0, 1), (1, 3), (1, 4), (2, 0), (2, 2)})
    view = TexturePatches(2, 3, 16, threshold=50)
    seen = set()
    for seed in range(60):
        out = collect(view, lambda _: frame, 9, seed=seed, train=True)[1]
        names = [tuple(f) for f in out[:, :, 0, 4, 4].tolist()]
        seen.update(names)
        assert all(set(n) <= {1, 13, 14, 20, 22} and len(set(n)) == 3 for n in names)
    assert len(seen) == 10  # 5 over 3


def test_laplacian_variance_of_one_dot_by_hand() -> None:
    # One level more in the middle of 5 x 5: -4 once and 1 four times in 25; mean 0, 20 / 25.
    frame = np.full((5, 5, 3), 10, dtype=np.uint8)
    frame[2, 2] = 11
    assert laplacian_variance(frame, np.array([[0, 0]]), 5).tolist() == [0.8]


@pytest.mark.parametrize(
    ("view", "train", "indices", "digest"),
    [
        (KeyFrames(5, 64, None, 3), False, [20, 60, 100, 140, 180], "c96706717871077e"),
        (KeyFrames(5, 64, None, 3), True, [52, 103, 149], "55c3c20a73002ba7"),
        (CLIPS, False, [5, 7, 9, 11, 172, 174, 176, 178], "c7ee246750cc1736"),
        (Fragments(4, 16, 3, 1, train_clips=2), False, [33, 100, 166], "90eaa96430b91750"),
        (Fragments(4, 16, 3, 1, train_clips=2), True, [78, 155], "a1f2f467a88c6d68"),
    ],
    ids=str,
)
def test_views_of_existing_bundles_stay_bit_for_bit(
    view: View, train: bool, indices: list[int], digest: str
) -> None:
    # Digests of what the code of bundle format 1 made. Not of resized frames, which may differ
    # between processors.
    found, out = collect(view, noise(90, 160), 200, seed=77, train=train)
    assert found.tolist() == indices
    pixels = out.contiguous().numpy().tobytes()
    assert hashlib.blake2b(pixels, digest_size=8).hexdigest() == digest


def test_every_kind_can_be_made_from_its_own_options(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("filename,score\na,1\n")
    needed = {"table_scores": {"table": str(tmp_path / "table.csv")}}
    for kind, make in VIEW_KINDS.items():
        view = make(**needed.get(kind, {}))
        own = {field.name for field in fields(view) if field.init}  # type: ignore[arg-type]
        options = {"kind": kind, **{name: getattr(view, name) for name in own}}
        assert make_view(options) == view
        assert options["kind"] == kind  # what came in is left alone
    assert make_view({"kind": "motion_chunks", "size": 64}) == MotionChunks(size=64)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "view.kind: None; known are key_frames, motion_chunks, fragments, native_patches, "),
        ({"kind": "keyframes"}, "view.kind: 'keyframes'; known"),
        ({"kind": ["key_frames"]}, "view.kind: "),
        ({"kind": "fragments", "alligned": 8}, "fragments has no option 'alligned'; did you mean "),
        ({"kind": "motion_chunks", "xyz": 8}, "no option 'xyz'; known are num_chunks, chunk_len"),
        ({"kind": "native_patches", "num_patches": "15"}, "view: NativePatches.num_patches must"),
        ({"kind": "fragments", "aligned": "8"}, "view: Fragments.aligned must be an integer"),
        ("key_frames", "view: 'key_frames'; give options, as {kind"),
    ],
)
def test_options_that_make_no_view_are_named(options: Any, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_view(options)
    assert words in str(error.value)
    with pytest.raises(ConfigError, match=r"^members\.a\.view"):
        make_view(options, "members.a.view")
