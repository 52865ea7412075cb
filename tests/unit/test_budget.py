"""Caps: what is refused before any training, and what the refusal advises."""

import pytest
import torch
from torch import Tensor, nn

from distill import budget
from distill.budget import Caps, check_budget, check_caps
from distill.cost import profile
from distill.errors import BudgetError, ConfigError
from distill.model import Prediction
from tests.helpers.toy_models import Toy


class Sized(Toy):
    """192 multiply-adds per frame at size 4, and as much more as the size; 100 beside them."""

    built = 0

    def __init__(self, num_frames: int = 3, size: int = 64, weights: str = "auto") -> None:
        assert weights == "none"
        type(self).built += 1
        super().__init__(nn.Linear(size, 10), num_frames, size)
        self.fixed = nn.Linear(10, 10)

    def forward(self, batch: dict[str, Tensor]) -> Prediction:
        says = super().forward(batch)
        extra = self.fixed(torch.ones(10))
        return Prediction(says.score, says.frame_scores, features={"extra": extra[None]})


def _macs(frames: int, size: int) -> float:
    return frames * 8 * size * 10 + 100


def test_a_model_within_the_cap_is_measured_once() -> None:
    Sized.built = 0
    cap = _macs(3, 64) / 1e9
    cost = check_budget(Sized, {"num_frames": 3, "weights": "auto"}, cap)
    assert cost.gmacs == pytest.approx(cap)
    assert Sized.built == 1


def test_a_model_over_the_cap_is_refused_with_settings_that_fit() -> None:
    cap = _macs(7, 448) / 1e9  # 7 frames fit exactly, an eighth does not
    with pytest.raises(BudgetError) as refusal:
        check_budget(Sized, {"num_frames": 10, "size": 448}, cap)
    text = str(refusal.value)
    assert "Sized num_frames=10 size=448" in text
    assert "student.num_frames=7 " in text
    # 10 frames at 288 cost less than 7 at 448; at 320 they cost more.
    assert "student.size=288 " in text
    assert _macs(10, 288) < _macs(7, 448) < _macs(10, 320)
    assert "one multiply-add = 1" in text
    assert refusal.value.exit_code == 3


def test_every_pass_counts_and_fewer_passes_are_advised() -> None:
    once = _macs(10, 448) / 1e9
    cost = check_budget(Sized, {"num_frames": 10, "size": 448}, 3 * once, passes=3)
    assert cost.gmacs == pytest.approx(3 * once)
    assert sum(cost.by_module.values()) == pytest.approx(3 * once)
    assert cost.params_m == profile(Sized(10, 448, "none")).params_m
    with pytest.raises(BudgetError) as refusal:
        check_budget(Sized, {"num_frames": 10, "size": 448}, 2.5 * once, passes=3)
    text = str(refusal.value)
    assert "Sized num_frames=10 size=448 test_views=3 costs 0.00 GMACs" in text
    # Of three passes 8 frames fit: 3 * 8 is below 2.5 * 10, 3 * 9 is not.
    assert "These fit: test_views=2 (" in text and "or student.num_frames=8 (" in text
    with pytest.raises(BudgetError, match=r"These fit: student\.num_frames=5 "):
        check_budget(Sized, {"num_frames": 10, "size": 448}, 0.52 * once)


def test_a_cap_below_one_frame_names_a_cheaper_student() -> None:
    with pytest.raises(
        BudgetError, match=r"not even one frame; the cheapest student: student=mixed_view"
    ):
        check_budget(Sized, {"num_frames": 2, "size": 64}, 200 / 1e9)


@pytest.mark.parametrize("cap", [0, -1, float("nan"), float("inf")])
def test_a_senseless_cap_is_refused(cap: float) -> None:
    with pytest.raises(ConfigError, match="positive number of GMACs"):
        check_budget(Sized, {}, cap)


def test_every_cap_is_checked_by_itself_and_none_is_no_cap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budget, "_latencies", {})
    monkeypatch.setattr(budget, "latency_ms", lambda model: 40.0)
    kwargs = {"num_frames": 3, "size": 64}
    params_m = (64 * 10 + 10 + 110) / 1e6
    gmacs = _macs(3, 64) / 1e9
    cost = check_caps(Sized, kwargs, Caps())
    assert cost.gmacs == pytest.approx(gmacs) and cost.latency_ms is None
    assert cost.params_m == pytest.approx(params_m)
    fits = check_caps(Sized, kwargs, Caps(gmacs, params_m, 40.0))
    assert fits.latency_ms == 40.0 and "40.0 ms" in str(fits)
    with pytest.raises(BudgetError, match=r"0\.00 M parameters; max_params=0\.0007 million"):
        check_caps(Sized, kwargs, Caps(params_m=0.0007))
    with pytest.raises(BudgetError, match="the budget is"):
        check_caps(Sized, kwargs, Caps(gmacs=gmacs * 0.99))


def test_latency_is_that_of_all_passes_and_fewer_frames_are_advised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budget, "_latencies", {})
    monkeypatch.setattr(budget, "latency_ms", lambda model: 40.0)
    kwargs = {"num_frames": 6, "size": 64}
    assert check_caps(Sized, kwargs, Caps(latency_ms=80), passes=2).latency_ms == 80
    with pytest.raises(BudgetError) as refusal:
        check_caps(Sized, kwargs, Caps(latency_ms=50), passes=2)
    text = str(refusal.value)
    assert "num_frames=6 size=64 test_views=2 takes 80.0 ms" in text
    assert "max_latency=50 ms" in text and "about student.num_frames=3 would fit" in text


def test_a_choice_is_held_to_the_latency_that_it_was_made_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    took = iter([90.0, 110.0])  # the machine is busier the second time
    monkeypatch.setattr(budget, "_latencies", {})
    monkeypatch.setattr(budget, "latency_ms", lambda model: next(took))
    first = check_caps(Sized, {"num_frames": 3}, Caps(latency_ms=100))
    assert check_caps(Sized, {"num_frames": 3}, Caps(latency_ms=100)) == first
    with pytest.raises(BudgetError, match=r"takes 110\.0 ms"):
        check_caps(Sized, {"num_frames": 4}, Caps(latency_ms=100))


def test_a_real_latency_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_latencies", {})
    cost = check_caps(Sized, {"num_frames": 3}, Caps(latency_ms=1e6))
    assert cost.latency_ms is not None and 0 < cost.latency_ms < 1e6


def test_caps_are_told_with_their_units() -> None:
    assert str(Caps(2, 30.5, 100)) == "2 GMACs, 30.5 M parameters, 100 ms"
    assert str(Caps()) == "no cap"


class SizedSwin(Sized):
    """The same costs; only its name is a Swin's."""

    BACKBONE = "swin_tiny_patch4_window7_224"


@pytest.mark.parametrize(
    ("size", "cap", "advice"),
    [
        (640, 500, "student.size=448 "),  # 512 and 480 would fit, and pad their windows
        (448, 400, "student.size=224 "),
        (384, 300, "student.size=224 "),
        (448, 200, None),  # 192 would fit
    ],
)
def test_a_swin_is_advised_sizes_that_pad_no_window(
    size: int, cap: int, advice: str | None
) -> None:
    with pytest.raises(BudgetError) as refusal:
        check_budget(SizedSwin, {"num_frames": 3, "size": size}, _macs(3, cap) / 1e9)
    text = str(refusal.value)
    assert advice in text if advice else "student.size=" not in text


def test_a_window_that_the_name_tells_counts() -> None:
    class Twelve(Sized):
        BACKBONE = "swin_base_patch4_window12_384"

    with pytest.raises(BudgetError, match=r"student\.size=384 "):
        check_budget(Twelve, {"num_frames": 3, "size": 448}, _macs(3, 447) / 1e9)
