"""Views: their pixels against slow references, and what they may and may not depend on."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from distill.data.dataset import Example, VideoDataset
from distill.data.manifest import Row
from distill.data.reader import VideoInfo
from distill.data.sampling import spread
from distill.data.views import (
    Fragments,
    KeyFrames,
    MixedFrames,
    MotionChunks,
    NativePatches,
    TexturePatches,
    View,
)

MakeFrame = Callable[[int], np.ndarray]
SMALL = Fragments(grid=3, patch=8, num_clips=2, clip_len=4, frame_interval=2)


def info(num_frames: int = 40, width: int = 96, height: int = 64) -> VideoInfo:
    return VideoInfo(num_frames=num_frames, fps=25.0, width=width, height=height)


def collect(
    view: View, video: VideoInfo, make: MakeFrame, seed: int = 0, train: bool = False,
    reverse: bool = False,
) -> tuple[np.ndarray, Tensor]:  # fmt: skip
    collector = view.begin(video, seed, train)
    wanted = sorted(set(collector.indices.tolist()), reverse=reverse)
    for index in wanted:
        collector.add(index, make(index))
    return collector.indices, torch.from_numpy(collector.result())


def noise(height: int = 64, width: int = 96) -> MakeFrame:
    return lambda index: np.random.default_rng(index).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )


def coordinates(height: int, width: int) -> MakeFrame:
    """A frame whose pixels say where they are: red the row, green the column, blue the frame."""

    def make(index: int) -> np.ndarray:
        frame = np.empty((height, width, 3), dtype=np.uint8)
        frame[..., 0] = np.arange(height)[:, None]
        frame[..., 1] = np.arange(width)[None, :]
        frame[..., 2] = index
        return frame

    return make


def corner(view: Fragments, image: np.ndarray, i: int, j: int) -> tuple[int, int]:
    """Where cell (i, j) of a spliced coordinate frame was cut, checked pixel by pixel."""
    p = view.patch
    cell = image[:, i * p : (i + 1) * p, j * p : (j + 1) * p].astype(int)
    top, left = cell[0, 0, 0], cell[1, 0, 0]
    for y in range(p):
        for x in range(p):
            assert cell[0, y, x] == top + y and cell[1, y, x] == left + x
    return int(top), int(left)


@pytest.mark.parametrize("aligned", [None, 1, 2])
@pytest.mark.parametrize("train", [False, True])
def test_fragments_are_native_patches_in_their_cells(aligned: int | None, train: bool) -> None:
    view = Fragments(3, 8, num_clips=2, clip_len=4, frame_interval=2, aligned=aligned)
    height, width = 50, 70
    indices, out = collect(view, info(100), coordinates(height, width), seed=5, train=train)
    assert out.shape == view.shape == (2, 4, 3, 24, 24) and out.dtype == torch.uint8
    frames = out.reshape(8, 3, 24, 24).numpy()
    if train and frames[0, 1, 0, 0] > frames[0, 1, 0, 1]:  # mirrored, and then all of them
        frames = frames[..., ::-1]
    drawn = []
    for slot, image in enumerate(frames):
        assert (image[2] == indices[slot]).all()
        drawn.append([corner(view, image, i, j) for i in range(3) for j in range(3)])
        for k, (top, left) in enumerate(drawn[-1]):
            i, j = divmod(k, 3)
            origin_y, origin_x = min(height // 3 * i, height - 8), min(width // 3 * j, width - 8)
            assert origin_y <= top < origin_y + height // 3 - 8
            assert origin_x <= left < origin_x + width // 3 - 8
    block = aligned or view.clip_len
    for slot in range(8):
        assert drawn[slot] == drawn[slot // block * block]
    starts = [tuple(drawn[slot]) for slot in range(0, 8, block)]
    assert len(set(starts)) == len(starts)


def test_stills_share_their_positions_and_their_frames_with_key_frames() -> None:
    view = Fragments(3, 8, num_clips=5, clip_len=1)
    indices, out = collect(view, info(100), coordinates(64, 96))
    assert indices.tolist() == spread(5, 100).tolist()
    places = {
        tuple(corner(view, out[n, 0].numpy(), i, j) for i in range(3) for j in range(3))
        for n in range(5)
    }
    assert len(places) == 1
    indices, _ = collect(view, info(100), noise(), train=True)
    assert indices.tolist() != spread(5, 100).tolist()
    single = Fragments(3, 8, num_clips=5, clip_len=1, aligned=1)
    out = collect(single, info(100), coordinates(64, 96))[1]
    assert len({corner(single, out[n, 0].numpy(), 1, 1) for n in range(5)}) > 1


def test_fragments_enlarge_a_frame_that_is_smaller_than_the_grid() -> None:
    view = Fragments(3, 8, num_clips=1, clip_len=2, frame_interval=1)
    make = noise(12, 20)
    indices, out = collect(view, info(2, 20, 12), make)
    for slot, index in enumerate(indices.tolist()):
        chw = torch.from_numpy(make(index)).permute(2, 0, 1)
        large = tv.resize(chw, [24, 40], antialias=True)
        # The height holds exactly three patches; across, each cell of 13 has room for 5 places.
        for i, j in np.ndindex(3, 3):
            rows = slice(8 * i, 8 * (i + 1))
            cell = out[0, slot, :, rows, 8 * j : 8 * (j + 1)].int()
            errors = [
                (cell - large[:, rows, x : x + 8].int()).abs().max().item()
                for x in range(13 * j, 13 * j + 5)
            ]
            assert min(errors) <= 1
    assert collect(Fragments(), info(1, 1, 1), noise(1, 1))[1].shape == Fragments().shape


@pytest.mark.parametrize(
    ("height", "width", "short_side", "size"),
    [
        (64, 96, None, 32),  # a crop at native resolution
        (64, 96, 40, 32),  # shrunk: antialiasing matters
        (96, 64, 40, 40),  # portrait
        (65, 97, 33, 32),  # odd sides
        (20, 30, None, 32),  # enlarged to fit
        (20, 30, 48, 32),
        (64, 64, 64, 64),  # nothing to do
    ],
)
def test_key_frames_equal_torchvision(
    height: int, width: int, short_side: int | None, size: int
) -> None:
    view = KeyFrames(4, size, short_side)
    make = noise(height, width)
    indices, out = collect(view, info(40, width, height), make)
    assert out.shape == view.shape == (4, 3, size, size) and out.dtype == torch.uint8
    assert indices.tolist() == [5, 15, 25, 35]
    target = short_side or max(min(height, width), size)
    sides = [round(s * target / min(height, width)) for s in (height, width)]
    for slot, index in enumerate(indices.tolist()):
        chw = torch.from_numpy(make(index)).permute(2, 0, 1)
        expected = tv.center_crop(tv.resize(chw, sides, antialias=True), [size, size])
        difference = (out[slot].int() - expected.int()).abs()
        assert difference.max() <= (0 if target == min(height, width) else 1)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [
        (64, 96, slice(5, 26), slice(0, 32)),  # 21.33 rows, rounded; 5 above, 6 below
        (96, 64, slice(0, 32), slice(5, 26)),
        (9, 24, slice(10, 22), slice(0, 32)),  # enlarged
        (32, 32, slice(0, 32), slice(0, 32)),
        (1, 90, slice(15, 16), slice(0, 32)),  # a third of a row is one
    ],
)
def test_padded_key_frames_hold_the_whole_frame(
    height: int, width: int, rows: slice, columns: slice
) -> None:
    view, make = KeyFrames(2, 32, fit="pad", pad_level=(1, 2, 3)), noise(height, width)
    indices, out = collect(view, info(40, width, height), make)
    for slot, index in enumerate(indices.tolist()):
        chw = torch.from_numpy(make(index)).permute(2, 0, 1)
        sides = [rows.stop - rows.start, columns.stop - columns.start]
        expected = torch.tensor([1, 2, 3]).view(3, 1, 1).expand(3, 32, 32).clone()
        expected[:, rows, columns] = tv.resize(chw, sides, antialias=True).long()
        assert (out[slot] - expected).abs().max() <= (0 if height == width else 1)
        border = expected.clone()
        border[:, rows, columns] = out[slot, :, rows, columns].long()
        assert torch.equal(out[slot].long(), border)
    one = info(1, width, height)
    assert torch.equal(collect(view, one, make, 5, True)[1], collect(view, one, make)[1])


def test_squeezed_key_frames_equal_torchvision() -> None:
    out = collect(KeyFrames(1, 32, fit="squeeze"), info(1), noise())[1]
    chw = torch.from_numpy(noise()(0)).permute(2, 0, 1)
    assert (out[0].int() - tv.resize(chw, [32, 32], antialias=True).int()).abs().max() <= 1


def test_key_frames_in_training_have_one_crop_per_video() -> None:
    view = KeyFrames(4, 16)
    seen = set()
    for seed in range(60):
        indices, out = collect(view, info(100), coordinates(64, 96), seed, train=True)
        assert indices.tolist() == sorted(indices.tolist())
        top, left = int(out[0, 0, 0, 0]), int(out[0, 1, 0, 0])
        for slot, index in enumerate(indices.tolist()):
            expected = coordinates(64, 96)(index)[top : top + 16, left : left + 16]
            assert np.array_equal(out[slot].permute(1, 2, 0).numpy(), expected)
        seen.add((top, left))
    assert len(seen) > 50
    assert min(top for top, _ in seen) < 5 and max(top for top, _ in seen) > 43


VIEWS: list[View] = [
    KeyFrames(5, 24, 32),
    KeyFrames(5, 32),
    KeyFrames(4, 16, sampling="second_middle", padding="zero"),
    KeyFrames(4, 16, fit="pad", pad_level=9),
    KeyFrames(4, 16, fit="squeeze"),
    SMALL,
    Fragments(3, 8, 5, 1),
    Fragments(2, 8, 2, 8, t_frag=4, aligned=2),
    MotionChunks(3, 6, 16),
    MotionChunks(3, 6, 16, padding="zero"),
    NativePatches(3, 4, 16, 8),
    NativePatches(3, 4, 16, 8, short_side=40, sampling="second_start", padding="zero"),
    TexturePatches(3, 4, 16),
    MixedFrames(4, 40, 16, 8, padding="zero"),
    MixedFrames(3, 24, 16, 8, sampling="second_middle"),
]


@pytest.mark.parametrize("view", VIEWS, ids=str)
@pytest.mark.parametrize("train", [False, True])
def test_the_order_of_frames_does_not_matter_even_if_they_change_size(
    view: View, train: bool
) -> None:
    def make(index: int) -> np.ndarray:  # the size changes in mid-stream, and back
        return noise(*[(64, 96), (48, 64), (20, 30)][index // 7 % 3])(index)

    indices, forward = collect(view, info(), make, 3, train)
    backward_indices, backward = collect(view, info(), make, 3, train, reverse=True)
    assert np.array_equal(indices, backward_indices)
    assert torch.equal(forward, backward)


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_seeds(view: View) -> None:
    def tensor(seed: int, train: bool) -> Tensor:
        return collect(view, info(), noise(), seed, train)[1]

    assert torch.equal(tensor(1, True), tensor(1, True))
    assert not torch.equal(tensor(1, True), tensor(2, True))
    assert torch.equal(tensor(1, False), tensor(1, False))
    # Fragments are drawn by content in evaluation; the others need no seed there.
    assert torch.equal(tensor(1, False), tensor(2, False)) != isinstance(view, Fragments)


@given(
    num_frames=st.integers(1, 50),
    height=st.integers(1, 80),
    width=st.integers(1, 80),
    seed=st.integers(0, 2**63 - 1),
    train=st.booleans(),
    view=st.sampled_from(VIEWS),
)
@settings(max_examples=120)
def test_any_video_gives_the_promised_shape(
    num_frames: int, height: int, width: int, seed: int, train: bool, view: View
) -> None:
    indices, out = collect(view, info(num_frames, width, height), noise(height, width), seed, train)
    assert out.shape == view.shape and out.dtype == torch.uint8
    assert indices.min() >= 0 and indices.max() < num_frames


def test_evaluation_does_not_depend_on_the_file_s_name(tmp_path: Path) -> None:
    class Reader:
        name = "fake"

        def probe(self, path: Path) -> VideoInfo:
            return info()

        def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
            return ((index, noise()(index)) for index in indices)

    views = {str(number): view for number, view in enumerate(VIEWS)}
    paths = [tmp_path / name for name in ("a.mp4", "ü, b=1.mkv")]
    for path in paths:
        path.write_bytes(b"the same video")
    examples = [Example(Row(path.name, path)) for path in paths]
    first, second = (VideoDataset(examples, views, Reader(), train=False)[i] for i in (0, 1))
    assert all(torch.equal(first.views[name], second.views[name]) for name in views)


def test_views_do_not_write_into_the_frame_or_keep_it() -> None:
    frame = noise()(0)
    before = frame.copy()
    for view in VIEWS:
        collector = view.begin(info(1), 0, True)
        collector.add(0, frame)
        kept = collector.result().copy()
        frame[:] = 0
        np.testing.assert_array_equal(collector.result(), kept)
        frame[:] = before


def test_a_missing_frame_is_named() -> None:
    collector = KeyFrames(4, 16).begin(info(), 0, False)
    collector.add(5, noise()(5))
    with pytest.raises(RuntimeError, match=r"\[15, 25, 35\] never arrived"):
        collector.result()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KeyFrames(num_frames=0), "KeyFrames.num_frames must be an integer >= 1, got 0"),
        (lambda: KeyFrames(size=2.5), "KeyFrames.size must be an integer >= 1, got 2.5"),  # type: ignore[arg-type]
        (lambda: KeyFrames(size=224, short_side=200), "short_side 200 is smaller than size 224"),
        (lambda: Fragments(grid=True), "Fragments.grid must be an integer"),
        (lambda: Fragments(clip_len=32, aligned=5), "aligned 5 does not divide clip_len 32"),
        (lambda: Fragments(aligned=0), "Fragments.aligned must be an integer >= 1, got 0"),
        (lambda: Fragments(t_frag=5), "t_frag 5 does not divide clip_len 32"),
        (lambda: Fragments(sampling="second_start"), "but clip_len is 32"),
        (lambda: KeyFrames(short_side="a"), "KeyFrames.short_side must be an integer"),  # type: ignore[arg-type]
        (lambda: KeyFrames(sampling="seconds"), "KeyFrames.sampling must be one of spread, sec"),
        (lambda: KeyFrames(seconds=2), "seconds 2 needs sampling second_start or second_middle"),
        (lambda: KeyFrames(padding="zeros"), "padding must be one of repeat, zero, got 'zeros'"),
        (lambda: KeyFrames(fit="padded"), "fit must be one of crop, pad, squeeze, got 'padded'"),
        (lambda: KeyFrames(fit="pad", short_side=384), "short_side 384 belongs to fit crop, not p"),
        (lambda: KeyFrames(pad_level=256), "pad_level must be one or three of 0..255, got 256"),
        (lambda: KeyFrames(pad_level=(1, 2)), r"pad_level must be one or three .* got \(1, 2\)"),
        (lambda: KeyFrames(pad_level=(1, 2, 3.0)), "pad_level must be one or three of 0..255"),  # type: ignore[arg-type]
        (lambda: MotionChunks(num_chunks=0), "MotionChunks.num_chunks must be an integer >= 1"),
        (lambda: NativePatches(stride=0), "NativePatches.stride must be"),
        (lambda: NativePatches(short_side=100), "short_side 100 is smaller than patch 224"),
        (lambda: TexturePatches(threshold=-1), "TexturePatches.threshold must be >= 0, got -1"),
        (lambda: TexturePatches(threshold=float("nan")), "must be >= 0, got nan"),
    ],
)
def test_nonsense_is_refused(make: Callable[[], View], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: type(view).__name__)
@pytest.mark.parametrize("train", [False, True])
def test_a_view_keeps_nothing_of_a_frame(view: View, train: bool) -> None:
    """Readers lend frames: the memory holds another one when the next is asked for."""
    make, memory = noise(), np.empty((64, 96, 3), np.uint8)
    _, expected = collect(view, info(), make, train=train)
    collector = view.begin(info(), 0, train)
    for index in sorted(set(collector.indices.tolist())):
        memory[...] = make(index)
        collector.add(index, memory)
        memory[...] = 7
    np.testing.assert_array_equal(collector.result(), expected)
