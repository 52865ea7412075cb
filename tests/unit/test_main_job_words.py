"""The student without pseudo-labels drops what needs them, and nothing else."""

from dataclasses import asdict
from pathlib import Path

import yaml

from distill.config import TrainStudentConfig
from distill.label_options import FinetuneConfig
from distill.options import DataConfig, TrainingConfig
from distill.stages.main_job import _without_labels


def _words(folder: Path, config: TrainStudentConfig) -> list[str]:
    (folder / "config.yaml").write_text(yaml.safe_dump(asdict(config)))
    return _without_labels(folder)


def test_only_what_needs_pseudo_labels_is_turned_off(tmp_path: Path) -> None:
    assert _words(tmp_path, TrainStudentConfig()) == []
    stages = FinetuneConfig(epochs=4)
    every = TrainStudentConfig(rounds=2, finetune=stages, training=TrainingConfig(pseudo_share=0.5))
    assert _words(tmp_path, every) == [
        "rounds=1", "training.pseudo_share=null", "finetune.epochs=0",
    ]  # fmt: skip
    # A ladder is a first stage without pseudo-labels, too.
    ladder = TrainStudentConfig(finetune=stages, data=DataConfig(also=["ladder.csv"]))
    assert _words(tmp_path, ladder) == []
