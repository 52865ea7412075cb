"""Activations computed twice: the same gradients, far fewer tensors kept for the way back."""

import pytest
import torch
from torch import Tensor

from distill.data.views import KeyFrames
from distill.losses import WeightedLoss
from distill.options import TrainingConfig
from distill.training import QualityModule
from students.frames import FramesStudent
from teachers.ensemble import TeacherEnsemble
from teachers.timm_frames import TimmFrames


def _step(network: TimmFrames, frames: Tensor) -> tuple[int, list[Tensor]]:
    """Bytes kept for the backward pass, and every gradient."""
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    network.zero_grad()
    torch.manual_seed(1)  # of stochastic depth
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        features = network(frames)
    features.square().mean().backward()
    return kept, [p.grad.clone() for p in network.parameters() if p.grad is not None]


@pytest.mark.parametrize(
    ("backbone", "size", "share"),
    [("swin_tiny_patch4_window7_224", 224, 0.2), ("test_efficientnet", 64, 0.6)],
)
def test_gradients_are_the_same_and_less_is_kept(backbone: str, size: int, share: float) -> None:
    torch.manual_seed(0)
    network = TimmFrames(backbone, "none", size, (1, 3), trainable=True)
    frames = torch.randint(0, 256, (1, 2, 3, size, size), dtype=torch.uint8)
    plain, expected = _step(network, frames)
    network.checkpoint_gradients()
    kept, found = _step(network, frames)
    assert kept < share * plain
    assert len(found) == len(expected) == len(list(network.parameters()))
    for gradient, before in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, before)


def _checkpoints(network: torch.nn.Module) -> bool:
    return bool(network.net.grad_checkpointing)  # type: ignore[union-attr]


@pytest.mark.parametrize("wanted", [False, True])
def test_the_option_reaches_every_trained_tower(wanted: bool) -> None:
    view = {"kind": "key_frames", "num_frames": 1, "size": 64}
    toy = {"backbone": "test_efficientnet", "weights": "none", "view": view}
    teacher = TeacherEnsemble({"moves": {**toy, "trainable": True}, "still": toy}, hidden=4)
    student = FramesStudent(
        "test_efficientnet", num_frames=1, size=64, short_side=64, grid=2, hidden=4, weights="none"
    )
    assert student.views["frames"] == KeyFrames(1, 64, 64)
    training = TrainingConfig(gradient_checkpointing=wanted)
    for model in (teacher, student):
        QualityModule(model, WeightedLoss({"mse": 1}), training, 0)
    assert _checkpoints(student.tower) is wanted
    assert _checkpoints(teacher.members["moves"]) is wanted
    assert not _checkpoints(teacher.members["still"])
