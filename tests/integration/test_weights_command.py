"""``python -m teachers``: what is here works, what is broken fails, what is missing is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from teachers.fast_vqa import FastVQA

NAME = "FAST_VQA_M_1_4.pth"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights under the published name and in the published wrapper."""
    torch.manual_seed(0)
    made = tmp_path_factory.mktemp("weights")
    state = FastVQA("fast_vqa_m", "none").state_dict()
    published = {key: value for key, value in state.items() if key not in ("mean", "std")}
    torch.save({"state_dict": published, "validation_results": {}}, made / NAME)
    return made


def _run(folder: Path, cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "teachers", *words], capture_output=True, text=True,
        env={**os.environ, "DISTILL_WEIGHTS": str(folder), "DISTILL_CACHE": str(cache)},
    )  # fmt: skip


def test_it_loads_and_runs_what_is_here_and_tells_the_rest(folder: Path, tmp_path: Path) -> None:
    done = _run(folder, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    works = [line for line in lines if " works: " in line]
    assert len(works) == 1 and works[0].startswith("fast_vqa_m ")
    assert sum(line.endswith(" missing") for line in lines) == 8
    assert f"{NAME}, sha256 " in done.stdout and "licence: MIT" in done.stdout
    again = _run(folder, tmp_path, "fast_vqa_m")
    assert again.returncode == 0
    assert again.stdout.splitlines()[0] == works[0]


def test_what_was_asked_for_must_be_here_and_whole(folder: Path, tmp_path: Path) -> None:
    missing = _run(folder, tmp_path, "liqe")
    assert missing.returncode == 1
    assert "error: liqe: see above" in missing.stderr
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / NAME).write_bytes((folder / NAME).read_bytes()[:100_000])
    done = _run(broken, tmp_path)
    assert done.returncode == 1
    assert "fast_vqa_m           DOES NOT LOAD" in done.stdout
    assert _run(folder, tmp_path, "fast").returncode == 2
