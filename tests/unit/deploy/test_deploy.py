"""Parts of exports that need no network: views from JSON, devices, order, checks, safety."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from distill.bundle import Bundle, _views
from distill.data.rows import Row
from distill.data.views import (
    Fragments,
    KeyFrames,
    MixedFrames,
    MotionChunks,
    NativePatches,
    TexturePatches,
    View,
)
from distill.deploy.checks import check, largest_difference, see_clips
from distill.deploy.exports import read_export, view_of
from distill.deploy.onnx_model import Seen, _ahead, _providers
from distill.deploy.torch_program import check_no_pickle
from distill.errors import BundleError, ConfigError, ExportError
from distill.logistic import Logistic4
from distill.model import Prediction, QualityModel

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.mark.parametrize(
    "view",
    [
        KeyFrames(3, 32, 48, train_frames=1, pad_level=(1, 2, 3)),
        Fragments(2, 8, num_clips=2, clip_len=4, t_frag=2),
        MixedFrames(2, train_frames=1),
        MotionChunks(2, 4, 16),
        NativePatches(2, 3),
        TexturePatches(2, 3, threshold=5.5),
    ],
    ids=lambda view: type(view).__name__,
)
def test_a_view_comes_back_from_a_specification(view: View) -> None:
    told = json.loads(json.dumps(_views(SimpleNamespace(views={"one": view}))))["one"]
    assert view_of(told) == view
    for change, message in (
        ({"kind": "Stills"}, "view 'Stills'; known are KeyFrames"),
        ({"colour": 1}, "has no colour"),
        ({"shape": [1, 2]}, r"not \[1, 2\]"),
    ):
        with pytest.raises(ValueError, match=message):
            view_of(told | change)


def test_a_damaged_export_is_told(tmp_path: Path) -> None:
    spec: dict[str, Any] = dict.fromkeys(
        ("role", "fingerprint", "architecture", "sha256", "cost", "provenance", "licenses")
    )
    spec |= {"format": 1, "views": {}, "calibration": None, "export": {"inputs": {"frames": []}}}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(BundleError, match=r"not readable as an export \(KeyError: 'frames'\)"):
        read_export(tmp_path)


@pytest.mark.parametrize(
    ("device", "available", "expected"),
    [
        ("auto", [CPU], [CPU]),
        ("cpu", [CUDA, CPU], [CPU]),
        ("auto", [CUDA, CPU], [(CUDA, {"device_id": 0}), CPU]),
        ("cuda:2", [CUDA, CPU], [(CUDA, {"device_id": 2}), CPU]),
        ("cuda", [CPU], "this onnxruntime has no CUDA; pip install onnxruntime-gpu"),
        ("cuda:x", [CUDA, CPU], "knows auto, cpu, cuda and cuda:N"),
        ("mps", [CUDA, CPU], "knows auto, cpu, cuda and cuda:N"),
    ],
)
def test_devices(device: str, available: list[str], expected: list[Any] | str) -> None:
    if isinstance(expected, list):
        assert _providers(device, available) == expected
        return
    with pytest.raises(ConfigError, match=expected):
        _providers(device, available)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_rows_keep_their_order_and_none_is_taken_long_before_its_turn(threads: int) -> None:
    taken: list[int] = []

    def rows() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    found = _ahead(lambda number: -number, rows(), threads)  # type: ignore[arg-type,return-value]
    for number in range(20):
        assert next(found) == -number
        assert len(taken) <= number + 2 * threads + 1
    found.close()  # stops without the rest
    assert len(taken) < 30


class _Half(QualityModel):
    """Half of the mean of the view."""

    def forward(self, batch: Mapping[str, torch.Tensor]) -> Prediction:
        frames = batch["x"].float().mean(-1) / 2
        return Prediction(frames.mean(1), frames)


def _seen(*values: int) -> list[Seen]:
    return [
        Seen(Row(str(value), Path()), [{"x": np.full((2, 3), value, np.uint8)}]) for value in values
    ]


def test_differences_are_of_videos_and_frames_alone_and_together_after_calibration() -> None:
    line = Logistic4(slope=10.0, fallback="line")
    bundle = Bundle(_Half(), {}, Path(), line)
    batches: list[int] = []

    def graph(views: Mapping[str, np.ndarray], off: float = 0.0) -> Any:
        batches.append(len(views["x"]))
        frames = views["x"].astype(np.float32).mean(-1) / 2
        return frames.mean(1) + off * (len(views["x"]) > 1), frames

    assert largest_difference(bundle, graph, _seen(4, 9)) == 0
    assert batches == [1, 1, 3]
    together = largest_difference(bundle, lambda v: graph(v, 0.25), _seen(4, 9))
    assert together == pytest.approx(2.5)

    def flat(views: Mapping[str, np.ndarray]) -> Any:
        score, frames = graph(views)
        return score, frames + 1

    assert largest_difference(bundle, flat, _seen(4)) == pytest.approx(10)
    for wrong in (None, np.zeros((1, 5), np.float32)):
        assert np.isnan(largest_difference(bundle, lambda v, w=wrong: (graph(v)[0], w), _seen(4)))
    assert np.isnan(largest_difference(bundle, lambda v: (graph(v)[0] * np.nan, None), _seen(4)))


@pytest.mark.parametrize(("difference", "fits"), [(0.0, True), (1e-4, True), (1.1e-4, False)])
def test_the_tolerance_is_held(difference: float, fits: bool) -> None:
    if fits:
        check("model.onnx", difference)
        return
    for apart in (difference, float("nan")):
        with pytest.raises(ExportError, match=r"more than 0\.0001: nothing is exported"):
            check("model.onnx", apart)


def test_clips_that_cannot_be_decoded_are_left_out_unless_none_is_left() -> None:
    (sound,) = _seen(3)
    broken = Seen(Row("bad.mp4", Path()), error="pyav: torn")
    answers = iter([broken, sound, broken])
    model: Any = SimpleNamespace(see=lambda reader, row: next(answers))
    reader: Any = None
    assert see_clips(model, [sound.row] * 2, reader) == [sound]
    with pytest.raises(
        ExportError, match=r"none of the clips .*bad\.mp4: pyav: torn.*name others: --clips"
    ):
        see_clips(model, [broken.row], reader)


def test_a_program_with_a_pickle_in_it_is_refused(tmp_path: Path) -> None:
    entries = {"m/data/weights/weight_0": b"1", "m/data/sample_inputs/model.pt": b""}
    path = tmp_path / "model.pt2"

    def write(**more: bytes) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (entries | more).items():
                archive.writestr(name, content)

    write()
    check_no_pickle(path)
    for name in ("m/data/sample_inputs/model.pt", "m/data/constants/custom_obj_0", "m/opaque_obj"):
        write(**{name: b"pickle"})
        with pytest.raises(BundleError, match=r"holds a pickled object, m/.*; refused"):
            check_no_pickle(path)


def test_importing_the_program_is_light() -> None:
    program = "import sys, distill; sys.exit(bool({'torch', 'numpy', 'av'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
