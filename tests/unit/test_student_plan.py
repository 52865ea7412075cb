"""What a student's training refuses before it, and what a run that goes on does not ask again."""

from pathlib import Path

import pytest
import yaml

from distill.budget import Caps
from distill.config import TrainStudentConfig
from distill.cost import Cost
from distill.errors import ConfigError
from distill.label_options import GuideConfig
from distill.options import DataConfig, TrainingConfig
from distill.runs import Run
from distill.stages import student_plan
from distill.stages.student_plan import prepare, with_latency

FIT = {"choose": "students.rungs.fit", "measured": None}
MIXED = {"_target_": "students.mixed_view.MixedViewStudent", "num_frames": 1, "weights": "none"}


class Reached(Exception):
    """The caps were checked."""


def _caps(
    monkeypatch: pytest.MonkeyPatch, config: TrainStudentConfig, out: Path, resumed: bool
) -> Caps:
    """The caps that the student is held to."""
    seen: list[Caps] = []

    def check(target: object, kwargs: object, caps: Caps, passes: int) -> None:
        seen.append(caps)
        raise Reached

    monkeypatch.setattr(student_plan, "check_caps", check)
    with pytest.raises(Reached):
        prepare(config, out, resumed)
    return seen[0]


@pytest.mark.parametrize("process", ["resumed", "another"])
def test_a_run_that_began_keeps_its_student_and_times_it_no_more(
    process: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"student": MIXED}))
    monkeypatch.setenv("LOCAL_RANK", "1" if process == "another" else "0")
    config = TrainStudentConfig(student=dict(FIT), budget=50, max_latency=1e-6, loss={"plcc": 1.0})
    caps = _caps(monkeypatch, config, tmp_path, process == "resumed")
    assert config.student == MIXED
    assert caps == Caps(50.0)


def test_a_resumed_run_has_the_latency_that_was_measured_when_it_began(tmp_path: Path) -> None:
    cost = Cost(1.5, 3.2)
    began = with_latency(cost.taking(12.5), Run(tmp_path, {"seed": 0}))
    assert began.latency_ms == 12.5
    assert with_latency(cost, Run(tmp_path, {"seed": 0}, resumed=True)) == began
    assert with_latency(cost, Run(tmp_path / "new", {"seed": 0}, resumed=True)) == cost
    assert with_latency(cost, Run(tmp_path, {"seed": 0})).latency_ms is None


def test_a_new_run_is_held_to_every_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainStudentConfig(student=dict(MIXED), budget=50, max_latency=9, loss={"plcc": 1.0})
    assert _caps(monkeypatch, config, tmp_path, False) == Caps(50.0, None, 9.0)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"num_frames": 2}, r"student\.num_frames: has no effect on students\.rungs\.fit"),
        ({"choose": "students.rungs.fitt"}, r"student\.choose=students\.rungs\.fitt: "),
        ({"choose": "os.remove"}, "must be a function of students"),
    ],
)
def test_what_the_choice_cannot_use_is_named(
    tmp_path: Path, changes: dict[str, object], match: str
) -> None:
    config = TrainStudentConfig(student=FIT | changes, budget=2, loss={"plcc": 1.0})
    with pytest.raises(ConfigError, match=match):
        prepare(config, tmp_path, False)


@pytest.mark.parametrize(
    "more",
    [
        {"labels": "outputs/store"},
        {"rounds": 2},
        {"data": DataConfig(also=["ladder.csv"])},
        {"guide": GuideConfig(bundle="teacher", score=1.0)},
    ],
)
def test_what_training_none_would_not_learn_from_is_refused(more: dict[str, object]) -> None:
    training = TrainingConfig(epochs=0)
    with pytest.raises(ConfigError, match=r"training=none\) learns nothing.*leave it out"):
        TrainStudentConfig(init="bundle", training=training, **more)  # type: ignore[arg-type]
    TrainStudentConfig(init="bundle", training=training, labels="none")
