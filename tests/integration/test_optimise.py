"""What both training commands do between examples and a checkpoint, with a network of one layer."""

import logging
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from distill.bundle import read_weights
from distill.callbacks import epoch_weights, mean_weights
from distill.config import TrainTeacherConfig
from distill.errors import ConfigError, Interrupted, TrainingError
from distill.inference import score_rows
from distill.lr_finder import find_factor
from distill.metrics import plcc, srcc
from distill.model import QualityModel
from distill.options import DataConfig, TrainingConfig
from distill.stages.assess import Trained
from distill.stages.average import AVERAGE, best_or_average
from distill.stages.fit import optimise
from distill.training import QualityModule
from tests.helpers.toy_training import Bright, Toy, data_of, examples, module_of


def _config(**options: Any) -> TrainTeacherConfig:
    given = {"epochs": 3, "batch_size": 4, "accelerator": "cpu", "lr": 0.02, "ema_decay": 0.0}
    training = TrainingConfig(**{**given, **options})
    return TrainTeacherConfig(
        data=DataConfig(num_workers=0), loss={"plcc": 1, "mse": 1}, training=training
    )


def _model() -> Toy:
    torch.manual_seed(3)
    return Toy()


def _optimise(
    folder: Path, config: TrainTeacherConfig, *, count: int = 22, val: int = 8,
    resumed: bool = False, model: QualityModel | None = None,
) -> Trained:  # fmt: skip
    folder.mkdir(exist_ok=True)
    train = examples(folder.parent / "videos", count)
    rows = [example.row for example in examples(folder.parent / "videos", val, 100)]
    trained = optimise(
        model or _model(), train, rows, Bright(), config, folder, [], ["table.csv"], 0, resumed
    )
    assert trained is not None and trained.checkpoint is not None
    return trained


def _kept(trained: Trained) -> dict[str, Tensor]:
    assert trained.checkpoint is not None
    return read_weights(trained.checkpoint)


def _assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], atol: float = 0) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=atol, msg=name)


def test_find_lr_is_the_training_with_the_rates_that_it_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = _config(find_lr=True, ema_decay=0.5)
    with caplog.at_level(logging.INFO, "distill.lr_finder"):
        found = _optimise(tmp_path / "found", config)
    (record,) = [r for r in caplog.records if r.name == "distill.lr_finder"]
    steps, factor, lr, backbone_lr = record.args  # type: ignore[misc]
    assert "find_lr: " in record.getMessage() and steps and factor != 1
    assert (tmp_path / "found/plots/lr_finder.png").stat().st_size > 5000
    given = replace(config.training, find_lr=False, lr=lr, backbone_lr=backbone_lr)  # type: ignore[arg-type]
    plain = _optimise(tmp_path / "plain", replace(config, training=given))
    _assert_same(_kept(found), _kept(plain), atol=1e-6)
    again = _optimise(tmp_path / "again", config)
    _assert_same(_kept(again), _kept(found))


def test_find_lr_leaves_weights_statistics_and_random_numbers_as_they_were(tmp_path: Path) -> None:
    training = _config().training
    module = module_of(training)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    random = torch.get_rng_state()
    find_factor(module, data_of(tmp_path, training, module.model.views), training, tmp_path)
    _assert_same(module.state_dict(), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in module.parameters()) and module.failed == {}


def test_find_lr_survives_rates_at_which_the_loss_is_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = QualityModule.training_step

    def breaks(self: QualityModule, batch: Any, batch_idx: int) -> Tensor:
        if self.trainer.optimizers[0].param_groups[0]["lr"] > 1:
            raise TrainingError("the loss is nan")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(QualityModule, "training_step", breaks)
    _optimise(tmp_path / "run", _config(find_lr=True, lr=0.5, epochs=1))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_find_lr_works_ends_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = signal.getsignal(number)
    start = QualityModule.on_train_batch_start

    def hit(self: QualityModule, batch: Any, batch_idx: int) -> None:
        if self.global_step == 9:
            os.kill(os.getpid(), number)
        start(self, batch, batch_idx)

    monkeypatch.setattr(QualityModule, "on_train_batch_start", hit)
    with pytest.raises(Interrupted, match="during the search for a learning rate") as error:
        _optimise(tmp_path / "run", _config(find_lr=True))
    assert error.value.exit_code == 128 + number and signal.getsignal(number) is before


def test_a_resumed_run_keeps_its_rates_and_its_chosen_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = _config(find_lr=True, average_last=2, accumulate=2, ema_decay=0.5, patience=5)
    whole = _optimise(tmp_path / "whole", config)
    start = QualityModule.on_train_batch_start

    def hit(self: QualityModule, batch: Any, batch_idx: int) -> None:
        if self.trainer.max_epochs == 3 and self.current_epoch == 1 and batch_idx == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        start(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(QualityModule, "on_train_batch_start", hit)
        with pytest.raises(Interrupted):
            _optimise(tmp_path / "broken", config)
    caplog.clear()
    resumed = _optimise(tmp_path / "broken", config, resumed=True)
    assert not [r for r in caplog.records if r.name == "distill.lr_finder"]
    assert resumed.checkpoint is not None and whole.checkpoint is not None
    assert resumed.checkpoint.name == whole.checkpoint.name
    _assert_same(_kept(resumed), _kept(whole))


def _select(model: QualityModel, weights: dict[str, Tensor], folder: Path) -> float:
    model.load_state_dict(weights)
    rows = [example.row for example in examples(folder / "videos", 8, 100)]
    scored = list(score_rows(model, rows, Bright(), device="cpu"))
    raw, mos = [s.raw for s in scored], [s.row.mos for s in scored]
    return (srcc(raw, mos) + plcc(raw, mos)) / 2


@pytest.mark.parametrize("better", ["average", "best"])
def test_the_average_is_kept_only_where_it_is_better_on_validation(
    tmp_path: Path, better: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = _config(epochs=4, average_last=2)
    _optimise(tmp_path / "run", config)
    checkpoints = tmp_path / "run" / "checkpoints"
    spoilt = checkpoints / "best.ckpt" if better == "average" else epoch_weights(checkpoints)[0]
    state = torch.load(spoilt, weights_only=True)
    state["state_dict"]["model.head.weight"] *= -100  # ranks in reverse
    torch.save(state, spoilt)
    mean = mean_weights(epoch_weights(checkpoints))
    options = [{k.removeprefix("model."): v for k, v in mean.items() if k.startswith("model.")},
               read_weights(checkpoints / "best.ckpt")]  # fmt: skip
    average, best = (_select(_model(), weights, tmp_path) for weights in options)
    assert (average > best) is (better == "average")
    rows = [example.row for example in examples(tmp_path / "videos", 8, 100)]
    with caplog.at_level(logging.INFO, "distill.stages.average"):
        model = _model()
        model.norm.eval()  # as a frozen part is
        chosen, value = best_or_average(
            model, checkpoints / "best.ckpt", rows, Bright(), config, None
        )  # fmt: skip
    assert chosen.name == (AVERAGE if better == "average" else "best.ckpt")
    assert model.training and model.drop.training and not model.norm.training
    assert value == (pytest.approx(average) if better == "average" else None)
    (record,) = [r for r in caplog.records if r.name == "distill.stages.average"]
    assert record.args is not None and record.args[0] == pytest.approx(best)  # type: ignore[index]
    assert record.args[2] == pytest.approx(average)  # type: ignore[index]


@pytest.fixture
def fresh_dynamo() -> Any:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def test_a_compiled_training_is_the_same_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_dynamo: None
) -> None:
    """With a backend that runs the graph: dropout then draws the same random numbers."""
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    options: dict[str, Any] = {"ema_decay": 0.5, "average_last": 2}
    plain = _optimise(tmp_path / "plain", _config(**options))
    compiled = _optimise(tmp_path / "compiled", _config(**options, compile=True))
    assert counter.frame_count >= 1
    _assert_same(_kept(compiled), _kept(plain), atol=1e-6)
    for name in ("last.ckpt", "best.ckpt"):
        files = [tmp_path / run / "checkpoints" / name for run in ("plain", "compiled")]
        plain_keys, keys = (torch.load(f, weights_only=True)["state_dict"].keys() for f in files)
        assert plain_keys == keys


@pytest.mark.parametrize("where", ["forwards", "backwards"])
def test_where_compiling_fails_training_goes_on_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    fresh_dynamo: None, where: str,
) -> None:  # fmt: skip
    class Torn(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, score: Tensor) -> Tensor:
            return score.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            raise RuntimeError("no compiler here")

    def broken(graph: Any, inputs: Any) -> Any:
        if where == "forwards":
            raise RuntimeError("no compiler here")
        return lambda *args: tuple(
            Torn.apply(out) if isinstance(out, Tensor) and out.requires_grad else out
            for out in graph(*args)
        )

    plain = _optimise(tmp_path / "plain", _config())
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    found = _optimise(tmp_path / "run", _config(compile=True))
    (record,) = [r for r in caplog.records if r.name == "distill.compiled"]
    assert record.getMessage().startswith("training.compile=true: torch cannot compile")
    assert "no compiler here" in record.getMessage()
    _assert_same(_kept(found), _kept(plain))  # the trial left nothing behind


@pytest.mark.slow
def test_torchs_own_compiler_trains(
    tmp_path: Path, fresh_dynamo: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Or the network as it is, where there is no C++ compiler."""
    models = [_model(), _model()]
    for model in models:
        model.drop.p = 0.0  # its own random numbers, compiled
        model.norm = torch.nn.Identity()  # type: ignore[assignment]  # a bias before it: all noise
    plain = _optimise(tmp_path / "plain", _config(), model=models[0])
    with caplog.at_level(logging.WARNING, "distill.compiled"):
        found = _optimise(tmp_path / "run", _config(compile=True), model=models[1])
    _assert_same(_kept(found), _kept(plain), atol=1e-3)
    if shutil.which("g++"):
        assert not [r for r in caplog.records if r.name == "distill.compiled"]


def _broken(examples_: list[Any], which: range) -> list[Any]:
    """The same videos, some of which cannot be read."""
    found = list(examples_)
    for at in which:
        row = found[at].row
        path = row.path.with_name(f"bad{row.path.name}")
        path.write_bytes(b"torn")
        found[at] = replace(found[at], row=replace(row, path=path))
    return found


def _run(folder: Path, train: list[Any], val: list[Any], **options: Any) -> Trained:
    model = _model()
    model.norm = torch.nn.Identity()  # type: ignore[assignment]  # one video has no statistics
    rows = [example.row for example in val]
    trained = optimise(
        model, train, rows, Bright(), _config(**options), folder, [], ["table.csv"], 0
    )
    assert trained is not None
    return trained


@pytest.mark.parametrize("find_lr", [False, True])
def test_training_videos_that_are_all_broken_are_no_training(tmp_path: Path, find_lr: bool) -> None:
    train = _broken(examples(tmp_path / "videos", 8), range(8))
    val = examples(tmp_path / "videos", 4, 100)
    with pytest.raises(TrainingError, match=r"learned from no video: not one .*bright: torn"):
        _run(tmp_path, train, val, find_lr=find_lr)
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()


def test_one_sound_video_among_broken_ones_trains_and_names_the_others(tmp_path: Path) -> None:
    train = _broken(examples(tmp_path / "videos", 8), range(1, 8))
    trained = _run(tmp_path, train, examples(tmp_path / "videos", 4, 100))
    assert [p.reason for p in trained.failed] == ["bright: torn"] * 7
    assert {p.line for p in trained.failed} == {e.row.line for e in train[1:]}


@pytest.mark.parametrize("val", ["one video", "all broken"])
def test_where_validation_says_nothing_all_epochs_are_trained_and_the_last_is_kept(
    tmp_path: Path, val: str, caplog: pytest.LogCaptureFixture
) -> None:
    videos = examples(tmp_path / "videos", 1 if val == "one video" else 4, 100)
    if val == "all broken":
        videos = _broken(videos, range(4))
    train = examples(tmp_path / "videos", 22)
    with caplog.at_level(logging.WARNING, "distill.stages.fit"):
        trained = _run(tmp_path, train, videos, patience=1)
    assert trained.steps == 3 * 6
    assert trained.checkpoint == tmp_path / "checkpoints" / "last.ckpt"
    assert "validation never had a correlation" in caplog.text


def test_a_batch_larger_than_the_data_set_is_filled_with_repeats(tmp_path: Path) -> None:
    trained = _optimise(tmp_path / "run", _config(batch_size=28), count=4)
    assert trained.steps == 3


def test_a_diverging_training_says_which_option_to_change(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at step 1 .*training\.lr"):
        _optimise(tmp_path / "run", _config(lr=1e30))


TWO = """
import sys
from pathlib import Path
import torch
from distill.stages.fit import optimise
from tests.helpers.toy_training import Bright, Toy, examples
from tests.integration.test_optimise import _config

torch.set_num_threads(1)
torch.manual_seed(3)
model, folder = Toy(), Path(sys.argv[1])
model.drop.p = 0.0
model.norm = torch.nn.Identity()
options = {"batch_size": 4 // int(sys.argv[2]), "devices": int(sys.argv[2])}
options |= {"find_lr": True, "average_last": 2, "ema_decay": 0.5, "patience": 2, "accumulate": 2}
val = [example.row for example in examples(folder.parent / "videos", 8, 100)]
train = examples(folder.parent / "videos", 20)
optimise(model, train, val, Bright(), _config(**options), folder, [], ["table.csv"], 0)
"""


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """With every switch; the losses are of the joint batch, so that the gradients are the same."""
    script = tmp_path / "two.py"
    script.write_text(TWO)
    kept = []
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, str(script), str(folder), str(devices)],
            cwd=pytestconfig.rootpath, capture_output=True, text=True, timeout=300,
            env={**os.environ, "PYTHONPATH": str(pytestconfig.rootpath), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        kept.append(read_weights(folder / "checkpoints" / "last.ckpt"))
        assert len(epoch_weights(folder / "checkpoints")) == 2
        assert (folder / "plots" / "lr_finder.png").is_file()
    _assert_same(kept[1], kept[0], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 0}, "training.accumulate=0 must be at least 1"),
        ({"compile": True, "chunk": 2}, "training.compile=true and training.chunk=2: chunks are"),
        ({"patience": -1}, "training.patience=-1 must be at least 0"),
        ({"average_last": -2}, "training.average_last=-2 must be at least 0"),
        ({"average_last": 4}, "training.average_last=4: there are training.epochs=3 epochs"),
    ],
)
def test_switches_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingConfig(**{"epochs": 3, **options})
    assert message in str(caught.value)
