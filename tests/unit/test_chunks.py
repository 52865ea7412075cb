"""A batch in chunks: the gradients of the whole batch, one chunk in memory at a time."""

import copy

import pytest
import torch
from torch import Tensor, nn

from distill.chunks import predict_in_chunks
from distill.losses import TERMS, WeightedLoss
from distill.model import Prediction, QualityModel
from students.frames import FramesStudent
from tests.helpers.loss_terms import CENTRES, bin_logits


class Toy(QualityModel):
    """All that a prediction may hold, from (B, 6)."""

    def __init__(self, dropout: float = 0.0, norm: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.norm = nn.BatchNorm1d(6) if norm else nn.Identity()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(dropout))
        self.head, self.member = nn.Linear(16, 1), nn.Linear(16, 1)
        self.calls: list[int] = []

    def forward(self, batch) -> Prediction:
        self.calls.append(len(batch["x"]))
        hidden = self.body(self.norm(batch["x"]))
        score = self.head(hidden)[:, 0]
        return Prediction(
            score=score,
            frame_scores=hidden[:, :2],
            member_scores={"m": self.member(hidden)[:, 0]},
            features={"stage": hidden},
            bin_logits=bin_logits(score),
        )


def batch() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(23, 6, generator=generator, dtype=torch.float64)
    return x, torch.randn(23, generator=generator, dtype=torch.float64), torch.arange(23) % 4


def step(model: Toy, size: int) -> tuple[Prediction, Tensor, list[Tensor]]:
    x, mos, group = batch()
    torch.manual_seed(9)
    says = predict_in_chunks(model, {"x": x}, size)
    loss = WeightedLoss(dict.fromkeys(TERMS, 1.0))
    assert says.bin_logits is not None
    total, _ = loss(says.score, mos, group=group, bins=(says.bin_logits, CENTRES))
    total = total + loss(says.member_scores["m"], mos, group=group)[0]
    total = total + says.features["stage"].square().mean() + says.frame_scores.mean()  # type: ignore[union-attr]
    total.backward()
    return says, total.detach(), [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("size", [1, 5, 22, 23, 40])
def test_gradients_equal_those_of_the_whole_batch(size: int) -> None:
    model = Toy().double()
    says, total, gradients = step(model, size)
    assert model.calls[0] == min(size, 23)
    whole, expected, references = step(Toy().double(), 10**6)
    torch.testing.assert_close(vars(says), vars(whole), rtol=0, atol=1e-12)
    torch.testing.assert_close(total, expected, rtol=0, atol=1e-12)
    assert max(g.abs().max().item() for g in references) > 1e-2
    torch.testing.assert_close(gradients, references, rtol=0, atol=1e-12)


def test_going_back_uses_the_masks_that_it_went_forward_with() -> None:
    _, total, gradients = step(Toy(dropout=0.5).double(), 5)
    model = Toy(dropout=0.5).double()  # the same draws without checkpoints
    x, _, _ = batch()
    torch.manual_seed(9)
    parts = [model({"x": part}) for part in x.split(5)]

    class Drawn(Toy):
        def forward(self, batch) -> Prediction:
            return Prediction(
                score=torch.cat([p.score for p in parts]),
                frame_scores=torch.cat([p.frame_scores for p in parts]),  # type: ignore[misc]
                member_scores={"m": torch.cat([p.member_scores["m"] for p in parts])},
                features={"stage": torch.cat([p.features["stage"] for p in parts])},
                bin_logits=torch.cat([p.bin_logits for p in parts]),  # type: ignore[misc]
            )

    _, expected, _ = step(Drawn(), 10**6)
    torch.testing.assert_close(total, expected, rtol=0, atol=1e-12)
    references = [p.grad for p in model.parameters()]
    torch.testing.assert_close(gradients, references, rtol=0, atol=1e-12)


def test_one_chunk_is_in_memory_at_a_time() -> None:
    model, events = Toy().double(), []
    model.body[1].register_forward_hook(
        lambda module, inputs, output: events.append(f"forward {len(output)}")
    )
    model.body[1].register_full_backward_hook(
        lambda module, given, got: events.append(f"backward {len(got[0])}")
    )
    step(model, 9)
    there, back = events[:3], events[3:]
    assert there == ["forward 9", "forward 9", "forward 5"]
    assert back == ["forward 5", "backward 5", *2 * ["forward 9", "backward 9"]]


def test_statistics_of_batchnorm_move_once_and_chunks_are_normalised_by_themselves() -> None:
    model = Toy(norm=True).double()
    reference = copy.deepcopy(model)
    step(model, 9)
    x, _, _ = batch()
    for part in x.split(9):
        reference({"x": part})
    torch.testing.assert_close(dict(model.named_buffers()), dict(reference.named_buffers()))
    assert model.norm.momentum == 0.1 and model.norm.num_batches_tracked == 3


def test_without_gradients_nothing_is_computed_twice() -> None:
    model = Toy().double()
    with torch.no_grad():
        predict_in_chunks(model, {"x": batch()[0]}, 5)
    assert model.calls == [23]


@pytest.mark.parametrize("autocast", [False, True])
def test_chunks_of_checkpointed_backbones_have_the_same_gradients(autocast: bool) -> None:
    gradients = []
    for checkpointed, size in ((False, 6), (True, 6), (True, 2)):
        torch.manual_seed(0)
        model = FramesStudent(
            "test_efficientnet", num_frames=2, size=64, short_side=64, grid=2, hidden=8,
            dropout=0.0, weights="none",
        )  # fmt: skip
        if checkpointed:
            model.checkpoint_gradients()
        views = {
            name: torch.randint(0, 256, (6, *view.shape), dtype=torch.uint8)
            for name, view in model.views.items()
        }
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            score = predict_in_chunks(model, views, size).score
        WeightedLoss({"plcc": 1.0})(score, torch.arange(6.0))[0].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))  # type: ignore[union-attr]
    assert gradients[0].abs().max() > 1e-3
    for other in gradients[1:]:
        atol = 0.02 * gradients[0].abs().max().item() if autocast else 1e-5
        torch.testing.assert_close(other, gradients[0], rtol=1e-3, atol=atol)
