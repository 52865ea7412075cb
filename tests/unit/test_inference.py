"""Scores in order, broken videos as reasons, devices named."""

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from distill.data.manifest import Row
from distill.data.views import KeyFrames
from distill.errors import ConfigError
from distill.inference import pick_device, score_rows
from distill.model import Prediction, QualityModel
from tests.helpers.grey_videos import Grey


class Mean(QualityModel):
    """Says a frame's mean; 255 drives it out of its mind."""

    def __init__(self) -> None:
        super().__init__()
        self.views = {"frames": KeyFrames(2, 16)}

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        frames = batch["frames"].float().mean((2, 3, 4))
        score = frames.mean(1)
        score = torch.where(score == 255, torch.nan, score)
        return Prediction(score, frames, {"twice": 2 * score})


def _rows(folder: Path, *values: str) -> list[Row]:
    rows = []
    for at, value in enumerate(values):
        path = folder / f"{at}.mp4"
        path.write_text(value)
        rows.append(Row(path.name, path))
    return rows


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
def test_one_result_per_row_in_order(tmp_path: Path, batch_size: int) -> None:
    rows = _rows(tmp_path, "7", "-", "-", "0", "255", "99")
    results = list(score_rows(Mean(), rows, Grey(), batch_size=batch_size, device="cpu"))
    assert [r.row for r in results] == rows
    assert [r.raw for r in results if not r.error] == [7, 0, 99]
    assert [r.members for r in results if not r.error] == [
        {"twice": 14},
        {"twice": 0},
        {"twice": 198},
    ]
    assert results[0].frame_scores == [7, 7]
    assert "no picture" in results[1].error and "no picture" in results[2].error
    assert "nan" in results[4].error and math.isnan(results[4].raw)
    assert all(r.seconds >= 0 for r in results)


def test_a_file_that_is_gone_is_a_reason(tmp_path: Path) -> None:
    (row,) = _rows(tmp_path, "7")
    row.path.unlink()
    (result,) = score_rows(Mean(), [row], Grey(), device="cpu")
    assert "No such file" in result.error


def test_devices_are_checked() -> None:
    assert pick_device("cpu").type == "cpu"
    for name in ("gpu7", "cuda:99"):
        with pytest.raises(ConfigError, match=f"device={name}"):
            pick_device(name)
