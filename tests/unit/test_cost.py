"""Counts against arithmetic done by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.cost import latency_ms, profile
from distill.errors import DistillError
from distill.model import Prediction, QualityModel
from tests.helpers.toy_models import Pixels, Toy


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
