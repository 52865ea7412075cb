"""What a teacher learned from: typed again by the next command, and told where it mixes."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill.bundle import load_bundle
from distill.data.manifest import read_manifest
from distill.labels import Label, LabelStore
from distill.options import DataConfig
from distill.overrides import check_overrides
from distill.stages.pseudo_label import _next
from distill.stages.teachers_data import data_words, warn_of_mixed_data, words_of_teacher
from distill.stages.train_teacher import _next as _next_of_teacher
from tests.helpers.student_bundles import write_bundle

DEMO = "/cache/demo-tiny-0123456789ab/manifest.csv"


def _typed(words: list[str]) -> DataConfig:
    """What a command makes of the words, through a shell and Hydra."""
    found = check_overrides("train_student", shlex.split(" ".join(["budget=120", *words])))
    assert isinstance(found.data, DataConfig)
    return found.data


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["data.labelled_groups=2"],
        ["data=manifest", "data.manifest=videos.csv"],
        ["data=kvq", "data.root=/sets/kvq"],
        ["data=finevd", "data.root=/sets/finevd", "data.options.dimension=blur"],
        ["data=manifest", """'data.manifest="/my videos/a,b=c.csv"'""", "data.val_share=0.3",
         """'data.columns.video="{vid}.mp4"'""", "data.columns.mos=score",
         """'data.group_regex="^(\\\\w+)_"'""", """'data.also=["x y.csv","ladder.csv"]'"""],
    ],
)  # fmt: skip
def test_the_words_give_the_same_data_when_they_are_typed(words: list[str]) -> None:
    data = _typed(words)
    assert _typed(data_words(data)) == data
    assert _typed(data_words(yaml.safe_load(yaml.safe_dump(vars(data))))) == data  # of config.yaml


def test_what_says_nothing_of_the_videos_is_not_repeated() -> None:
    assert data_words(DataConfig(num_workers=2, prefetch=3)) == []
    table = DataConfig(name="manifest", manifest="t.csv", num_workers=2)
    assert data_words(table) == ["data=manifest", "data.manifest=t.csv"]


def _teacher(folder: Path, table: str | None, data: Mapping[str, Any] | None = None) -> Path:
    bundle = write_bundle(folder / "bundle", "frames", role="teacher", provenance={"data": table})
    if data is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump({"data": dict(data)}))
    return bundle


@pytest.mark.parametrize(
    ("table", "data", "words"),
    [
        (DEMO, {"name": "demo", "manifest": None}, ""),
        ("/v/my table.csv", {"name": "manifest", "manifest": "my table.csv", "val_share": 0.5},
         """data=manifest 'data.manifest="/v/my table.csv"' data.val_share=0.5"""),
        ("/sets/kvq", {"name": "kvq", "adapter": "kvq", "root": "/sets/kvq"},
         "data=kvq data.root=/sets/kvq"),
        ("/v/t.csv", None, "data=manifest data.manifest=/v/t.csv"),
        ("/sets/kvq", None, "data=NAME data.root=FOLDER"),
        (None, {"name": "none"}, "data=manifest data.manifest=TABLE.csv"),
    ],
)  # fmt: skip
def test_labels_are_followed_by_a_student_of_the_teachers_own_data(
    tmp_path: Path, table: str | None, data: Mapping[str, Any] | None, words: str
) -> None:
    bundle = load_bundle(_teacher(tmp_path, table, data))
    assert " ".join(words_of_teacher(bundle)) == words
    config = check_overrides("pseudo_label", ["pool=videos", f"outputs={tmp_path}"])
    store = LabelStore.open(tmp_path / "my store", {"teacher": bundle.fingerprint})
    first = f"python train_student.py +budget=120 {words}".strip()
    assert _next(store, bundle, config) == f"""{first} 'labels="{store.folder}"'"""


def test_the_data_of_the_labelling_itself_go_before_the_teachers(tmp_path: Path) -> None:
    bundle = load_bundle(_teacher(tmp_path, "/v/t.csv"))
    words = ["data=manifest", "data.manifest=mine.csv", f"outputs={tmp_path}"]
    store = LabelStore.open(tmp_path / "pseudo_label" / "1" / "store", {"teacher": "t"})
    store.append([Label("a.mp4", "/v/a.mp4", score=3.0)])
    told = _next(store, bundle, check_overrides("pseudo_label", words))
    assert told == "python train_student.py +budget=120 data=manifest data.manifest=mine.csv"


def test_a_teacher_is_followed_by_labels_of_the_same_table_or_of_a_folder(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    table = tmp_path / "t.csv"
    config = check_overrides("train_teacher", ["data=manifest", f"data.manifest={table}"])
    table.write_text("video,mos\na.mp4,3\nb.mp4,\n")
    told = _next_of_teacher(config, read_manifest(table))
    assert told == f"python pseudo_label.py data=manifest data.manifest={table}"
    table.write_text("video,mos\na.mp4,3\nb.mp4,2\n")
    told = _next_of_teacher(config, read_manifest(table))
    assert told == "python pseudo_label.py pool=FOLDER_LIST_OR_TABLE"


@pytest.mark.parametrize(
    ("learned", "pool", "table", "told"),
    [
        ("/v/t.csv", "/pool", DEMO, "The MOS are of the DEMO data"),
        (DEMO, "/pool", "/v/t.csv", "of a teacher of the DEMO data"),
        (None, "/pool", DEMO, "The MOS are of the DEMO data"),  # published scores as they are
        (None, DEMO, DEMO, ""),
        (DEMO, "/pool", DEMO, ""),
        ("/v/t.csv", DEMO, "/v/t.csv", ""),
    ],
)
def test_labels_and_mos_of_which_one_is_the_demos_are_told(
    tmp_path: Path, learned: str | None, pool: str, table: str, told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    bundle = _teacher(tmp_path, learned)
    teacher = json.loads((bundle / "spec.json").read_text())["fingerprint"]
    store = LabelStore.open(
        tmp_path / "store", {"teacher": teacher, "bundle": str(bundle), "pool": pool}
    )
    warn_of_mixed_data(store, Path(table))
    assert (told in caplog.text) if told else not caplog.text
    caplog.clear()
    store.meta["teacher"] = "another"  # that lay there once
    warn_of_mixed_data(store, Path(table))
    store.meta["bundle"] = str(tmp_path / "gone")
    warn_of_mixed_data(store, Path(table))
    assert not caplog.text
