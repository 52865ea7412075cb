"""Counts against arithmetic done by hand, and the budget's refusals."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.cost import check_budget, latency_ms, profile
from distill.errors import BudgetError, ConfigError, DistillError
from distill.model import Prediction, QualityModel


@dataclass(frozen=True)
class Pixels:
    """A view by its shape alone; nothing here decodes."""

    shape: tuple[int, ...]


class Toy(QualityModel):
    """Runs ``body`` on each frame of a (T, 8, size) view, read as T x 8 tokens of ``size``."""

    def __init__(self, body: nn.Module, frames: int = 3, size: int = 4) -> None:
        super().__init__()
        self.views = {"pixels": Pixels((frames, 8, size))}  # type: ignore[dict-item]
        self.body = body

    def forward(self, batch: dict[str, Tensor]) -> Prediction:
        frame_scores = self.body(batch["pixels"].float().flatten(0, 1)).mean((1, 2))
        return Prediction(frame_scores.mean()[None], frame_scores[None])


class Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        heads = x.unflatten(-1, (2, -1)).transpose(1, 2)
        return F.scaled_dot_product_attention(heads, heads, heads).flatten(2)


class Broadcast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(torch.ones(5, 8), x)  # one matrix for every frame


class Biased(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(torch.ones(8, 8), x, x.transpose(1, 2))


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mha = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.mha(x, x, x, need_weights=False)[0]


class _Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        return x @ x.transpose(1, 2)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        return grad


class Custom(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Hidden.apply(x)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0]


@pytest.mark.parametrize(
    ("body", "by_hand"),
    [
        (nn.Linear(4, 6), 3 * 8 * 4 * 6),
        (nn.Conv1d(8, 16, 3, padding=1), 3 * 4 * 16 * 8 * 3),
        (Attention(), 3 * 8 * 8 * (4 + 4)),  # both heads of 2 together
        (Broadcast(), 3 * 5 * 8 * 4),
        (Biased(), 3 * 8 * 8 * 4),
        (nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 1)), 3 * 8 * (24 + 6)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_multiply_adds_by_hand(body: nn.Module, by_hand: int) -> None:
    cost = profile(Toy(body))
    assert cost.gmacs * 1e9 == pytest.approx(by_hand)
    assert sum(cost.by_operator.values()) == pytest.approx(cost.gmacs)
    assert cost.by_module == pytest.approx({"body": cost.gmacs})
    assert cost.gflops == 2 * cost.gmacs
    assert cost.params_m * 1e6 == sum(p.numel() for p in body.parameters())


@pytest.mark.parametrize(
    ("body", "operator", "place"),
    [
        (SelfAttention(), "_native_multi_head_attention", "body.mha"),
        (
            nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
            "_native_multi_head_attention",
            "body.self_attn",
        ),
        (Custom(), "PythonOp._Hidden", "body"),
        (Recurrent(), "aten::lstm", "body.lstm"),
    ],
    ids=["MultiheadAttention", "TransformerEncoderLayer", "autograd.Function", "LSTM"],
)
def test_operators_that_hide_arithmetic_stop_the_count(
    body: nn.Module, operator: str, place: str
) -> None:
    with pytest.raises(DistillError, match=operator) as refusal:
        profile(Toy(body))
    assert f" in {place}" in str(refusal.value)


class Towers(QualityModel):
    """One tower for two views, as the shared towers of students are."""

    def __init__(self) -> None:
        super().__init__()
        self.views = {"a": Pixels((2, 4)), "b": Pixels((5, 4))}  # type: ignore[dict-item]
        self.tower, self.head = nn.Linear(4, 6), nn.Linear(6, 1)

    def forward(self, batch: dict[str, Tensor]) -> Prediction:
        both = torch.cat([self.tower(batch[name].float()) for name in ("a", "b")], 1)
        # Dead to the score, yet run: it must be counted.
        return Prediction(both.mean((1, 2)), features={"x": self.head(both)})


def test_every_view_and_every_output_is_counted() -> None:
    cost = profile(Towers())
    assert cost.by_module == pytest.approx({"tower": 7 * 24e-9, "head": 7 * 6e-9})


def test_modes_are_restored_even_after_a_refusal() -> None:
    model = Toy(nn.Sequential(nn.Linear(4, 4), nn.Dropout()))
    model.train()
    model.body[1].eval()  # type: ignore[index]
    modes = [module.training for module in model.modules()]
    profile(model)
    assert latency_ms(model, repeats=1) > 0
    assert [module.training for module in model.modules()] == modes

    refused = Toy(SelfAttention()).train()
    with pytest.raises(DistillError):
        profile(refused)
    assert all(module.training for module in refused.modules())


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
        BudgetError, match=r"not even one frame; the cheapest student: student=compact"
    ):
        check_budget(Sized, {"num_frames": 2, "size": 64}, 200 / 1e9)


@pytest.mark.parametrize("cap", [0, -1, float("nan"), float("inf")])
def test_a_senseless_cap_is_refused(cap: float) -> None:
    with pytest.raises(ConfigError, match="positive number of GMACs"):
        check_budget(Sized, {}, cap)
