"""Options: every range and type error by its message, unknown keys anywhere with a suggestion."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from distill.checks import as_list, one_of, unknown_option
from distill.config import (
    SCHEMAS,
    EvaluateConfig,
    StageConfig,
    TrainStudentConfig,
    TrainTeacherConfig,
    folder,
    split_target,
    to_config,
)
from distill.errors import ConfigError


def checked(schema: type[StageConfig], **values: Any) -> Any:
    """What a door gets from Hydra: the schema, with the user's values merged in, unchecked keys."""
    cfg = OmegaConf.structured(schema)
    OmegaConf.set_struct(cfg, False)
    for name, value in values.items():
        OmegaConf.update(cfg, name.replace("__", "."), value, force_add=True)
    return to_config(cfg, schema)


@pytest.mark.parametrize("schema", SCHEMAS.values())
def test_defaults_are_sound(schema: type[StageConfig]) -> None:
    assert isinstance(checked(schema), schema)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("data.labelled_groups", 0, "data.labelled_groups=0 must be at least 1"),
        ("data.num_workers", -1, "data.num_workers=-1 must be at least 0"),
        ("data.val_share", 0.0, "data.val_share=0.0 must lie between 0.01 and 0.9"),
        ("data.val_share", 1.0, "data.val_share=1.0 must lie between"),
        ("data.val_share", float("nan"), "data.val_share=nan must lie between"),
        ("training.epochs", -1, "training.epochs=-1 must be at least 0"),
        ("folds", 0, "folds=0 must be at least 1"),
        ("training.batches_per_epoch", 0, "training.batches_per_epoch=0 must be at least 1"),
        ("training.batch_size", 1, "training.batch_size=1 must be at least 2"),
        ("training.lr", 0.0, "training.lr=0.0 must be a finite number above 0"),
        ("training.lr", float("inf"), "training.lr=inf must be a finite number above 0"),
        ("training.clip_norm", -1.0, "training.clip_norm=-1.0 must be a finite number above 0"),
        ("training.checkpoint_every", 0.0, "training.checkpoint_every=0.0 must be a finite"),
        ("training.backbone_lr", -1e-3, "training.backbone_lr=-0.001 must be at least 0"),
        ("training.weight_decay", float("inf"), "training.weight_decay=inf is not a finite number"),
        ("training.member_loss", float("nan"), "training.member_loss=nan is not a finite number"),
        ("training.pseudo_weight", -0.1, "training.pseudo_weight=-0.1 must be at least 0"),
        ("training.label_noise", -1.0, "training.label_noise=-1.0 must be at least 0"),
        ("training.warmup", 1.0, "training.warmup=1.0 must lie between 0 and 0.99"),
        ("training.ema_decay", 1.0, "training.ema_decay=1.0 must lie between 0 and 0.99999"),
        ("training.precision", "bf16", "training.precision='bf16' is not a choice"),
        ("training.accelerator", "gpuu", "='gpuu' is not a choice; did you mean gpu?"),
        ("tracking.mode", "onlin", "tracking.mode='onlin' is not a choice; did you mean online?"),
        ("tracking.mode", "xyz", "choose one of auto, online, offline, off"),
        ("reader.name", "decor", "reader.name='decor' is not a choice; did you mean decord?"),
        ("reader.threads", 0, "reader.threads=0 must be at least 1"),
        ("reader.time_limit", "fast", "reader.time_limit=fast: give a number of seconds, or null"),
        ("reader.time_limit", True, "reader.time_limit=True: give a number of seconds, or null"),
        ("reader.time_limit", 0.0, "reader.time_limit=0.0 must be a finite number above 0"),
        ("reader.time_limit", float("inf"), "reader.time_limit=inf must be a finite number"),
        ("reader.hdr", "drop", "reader.hdr='drop' is not a choice; choose one of keep, refuse"),
        ("test_views", 0, "test_views=0 must be at least 1"),
        ("seed", -1, "seed=-1 must lie between 0 and 4294967295"),
        ("seed", 2**32, "seed=4294967296 must lie between"),
        ("outputs", "~/runs", "outputs=~/runs: ~ is not expanded here"),
    ],
)  # fmt: skip
def test_values_out_of_range(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(TrainTeacherConfig, **{name: value})
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [None, "none", 30])
def test_a_time_limit_may_be_none(value: Any) -> None:
    limit = checked(TrainTeacherConfig, **{"reader.time_limit": value}).reader.time_limit
    assert limit == (30 if value == 30 else None)


@pytest.mark.parametrize(
    ("stage", "name", "value", "message"),
    [
        ("pseudo_label", "batch_size", 0, "batch_size=0 must be at least 1"),
        ("pseudo_label", "seed", -1, "seed=-1 must lie"),
        ("evaluate", "batch_size", 0, "batch_size=0 must be at least 1"),
        ("evaluate", "draws", 99, "draws=99 must be at least 100"),
        ("evaluate", "split", "tset", "split='tset' is not a choice; did you mean test?"),
        ("evaluate", "split", "pool", "split='pool' is not a choice"),
        ("evaluate", "reader.name", "x", "reader.name='x' is not a choice"),
        ("train_student", "test_views", -1, "test_views=-1 must be at least 1"),
        ("train_student", "seed", -1, "seed=-1 must lie"),
    ],
)
def test_values_out_of_range_of_other_stages(
    stage: str, name: str, value: Any, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(SCHEMAS[stage], **{name: value})
    assert message in str(caught.value)


def test_edges_are_in_range() -> None:
    config = checked(
        TrainTeacherConfig,
        **{
            "training.batch_size": 2,
            "training.warmup": 0,
            "training.ema_decay": 0,
            "training.member_loss": 0,
            "data.val_share": 0.9,
            "data.num_workers": 0,
            "seed": 2**32 - 1,
        },
    )
    assert (config.training.batch_size, config.data.num_workers) == (2, 0)


@pytest.mark.parametrize("value", ["abc", "", True, [1, 2], {"a": 1}])
def test_a_budget_that_is_no_number(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"is not a number; write the cap .* \+budget=120"):
        TrainStudentConfig(budget=value)


@pytest.mark.parametrize("value", [-5, 0, 0.0, float("nan"), float("inf"), -float("inf")])
def test_a_budget_out_of_range(value: float) -> None:
    with pytest.raises(ConfigError, match=f"^budget={value:g} is not a positive finite number; "):
        TrainStudentConfig(budget=value)


def test_a_sound_budget() -> None:
    assert TrainStudentConfig().budget is None
    assert checked(TrainStudentConfig, budget=120).budget == 120.0
    assert isinstance(checked(TrainStudentConfig, budget=120).budget, float)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bugdet", "unknown option 'bugdet'; did you mean budget"),
        ("trainin", "unknown option 'trainin'; did you mean training"),
        ("training.epoch", "unknown option 'training.epoch'; did you mean training.epochs"),
        ("tracking.moed", "unknown option 'tracking.moed'; did you mean tracking.mode"),
        ("data.manifets", "unknown option 'data.manifets'; did you mean data.manifest"),
        ("qqq", "unknown option 'qqq'; known: augment, budget, data, doubt, "),
    ],
)
def test_unknown_options(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(TrainStudentConfig, **{name: 1})
    assert str(caught.value).startswith(message)


def test_a_value_of_the_wrong_type_is_one_line() -> None:
    cfg = OmegaConf.create({"data": {"name": "${nowhere}"}})
    with pytest.raises(ConfigError, match="Interpolation key 'nowhere' not found") as caught:
        to_config(cfg, TrainTeacherConfig)
    assert "\n" not in str(caught.value)


class Network:
    def __init__(self, num_frames: int = 8, size: int = 224) -> None: ...


TARGET = f"{__name__}.Network"


def test_split_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.config.get_class", {TARGET: Network}.__getitem__)
    assert split_target({"_target_": TARGET, "size": 2}, "student") == (Network, {"size": 2})
    with pytest.raises(ConfigError, match=r"'student\.framess'; did you mean student.num_frames"):
        split_target({"_target_": TARGET, "framess": 8}, "student")


@pytest.mark.parametrize("target", ["", "nowhere.Net", "distill.errors.NoClass", "distill.errors"])
def test_split_target_without_a_class(target: str) -> None:
    with pytest.raises(ConfigError, match=f"student._target_='{target}': "):
        split_target({"_target_": target}, "student")


def test_lists_and_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert as_list(None) == [] and as_list("a") == ["a"] and as_list(["a", 3]) == ["a", "3"]
    config = checked(EvaluateConfig, bundles="a,b", manifests=["x", "y"])
    assert (config.bundles, config.manifests) == (["a,b"], ["x", "y"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert folder("runs/../pool") == tmp_path / "pool"
    assert folder("~/pool") == Path("/home/someone/pool")
    assert folder(tmp_path / "a") == tmp_path / "a"


@given(st.text(max_size=10), st.lists(st.text(max_size=10), max_size=5))
def test_messages_never_fail(name: str, known: list[str]) -> None:
    assert repr(name) in unknown_option(name, known)
    if name not in known:
        with pytest.raises(ConfigError):
            one_of("option", name, known)
    assert unknown_option("ab", ["abc", "abc"]) == "unknown option 'ab'; did you mean abc?"
