"""The common head: pooling over frames by hand, bins against their expectation, any T."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from distill.cost import profile
from distill.errors import ConfigError
from students.frames import FramesStudent
from students.head import VideoPool
from students.mixed_view import MixedViewStudent
from students.swin_t import SwinTStudent

SMALL: dict[str, Any] = {
    "backbone": "test_efficientnet", "size": 64, "short_side": 64, "fragments": False,
    "hidden": 8, "weights": "none",
}  # fmt: skip


def _features(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def test_attention_begins_at_the_mean_and_then_weighs_by_softmax() -> None:
    features, outputs = _features(3, 4, 6), _features(3, 4, 1)
    pool = VideoPool(6, "attention")
    assert pool.attention is not None
    mean = VideoPool(6)(features, outputs)
    torch.testing.assert_close(pool(features, outputs)[0], mean[0])
    torch.testing.assert_close(mean[0], outputs[..., 0].mean(1))

    nn.init.normal_(pool.attention[-1].weight, std=3.0)  # type: ignore[arg-type]
    logits = pool.attention(features)[..., 0].double()
    weights = logits.exp() / logits.exp().sum(1, keepdim=True)
    assert weights.max() > 0.5
    expected = (weights * outputs[..., 0]).sum(1).float()
    torch.testing.assert_close(pool(features, outputs)[0], expected)
    # The order of the frames does not matter, nor do other videos; a single frame weighs 1.
    turned = pool(features.flip(1), outputs.flip(1))[0]
    torch.testing.assert_close(turned, expected)
    torch.testing.assert_close(pool(features[1:2], outputs[1:2])[0], expected[1:2])
    one = pool(features[:, :1], outputs[:, :1])
    torch.testing.assert_close(one[0], outputs[:, 0, 0])
    assert one[1].shape == (3, 1)


@pytest.mark.parametrize("temporal", ["mean", "attention"])
def test_bins_are_a_distribution_over_scores(temporal: str) -> None:
    torch.manual_seed(0)
    options = {**SMALL, "num_frames": 3, "temporal": temporal, "bins": 7}
    model = FramesStudent(**options, score_mean=50.0, score_std=10.0).eval()
    centres = model.bin_centres
    assert centres is not None
    assert centres.tolist() == [20, 30, 40, 50, 60, 70, 80]
    nn.init.normal_(model.head[-1].weight, std=3.0)  # type: ignore[arg-type]
    batch = {"frames": torch.randint(0, 256, (2, 3, 3, 64, 64), dtype=torch.uint8)}
    says = model(batch)
    assert says.bin_logits is not None
    assert says.bin_logits.shape == (2, 7)
    expected = says.bin_logits.softmax(-1) @ centres
    torch.testing.assert_close(says.score, expected)
    assert (says.score - 50).abs().max() > 0.1
    # A video of one frame has that frame's score.
    one = model({"frames": batch["frames"][:, :1]})
    torch.testing.assert_close(one.frame_scores[:, 0], one.score)
    torch.testing.assert_close(says.frame_scores[:, 0], one.score, rtol=1e-4, atol=1e-4)
    model.set_score_scale(3.0, 0.5)
    assert model.bin_centres is not None
    assert model.bin_centres.tolist() == [1.5, 2, 2.5, 3, 3.5, 4, 4.5]
    assert not [key for key in model.state_dict() if "places" in key]  # options say them


@pytest.mark.parametrize(
    ("student", "options"),
    [
        (FramesStudent, SMALL),
        (
            MixedViewStudent,
            {"backbone": "test_efficientnet", "size": 96, "whole": 64, "weights": "none"},
        ),
        (SwinTStudent, {"size": 64, "weights": "none"}),
    ],
)
def test_every_student_has_bins_and_attention_that_are_counted(
    student: type, options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    plain = student(**options, num_frames=2)
    assert plain.bin_centres is None
    rich = student(**options, num_frames=2, bins=5, temporal="attention")
    ((name, view),) = rich.views.items()
    batch = {name: torch.randint(0, 256, (2, *view.shape), dtype=torch.uint8)}
    says = rich(batch)
    assert says.bin_logits.shape == (2, 5)
    assert plain(batch).bin_logits is None
    says.score.sum().backward()
    assert not [key for key, p in rich.named_parameters() if p.grad is None]
    # Attention: LayerNorm (fvcore counts 5 an element), D x 64 and 64 for each of two frames.
    dim = rich.pool.attention[1].in_features
    assert profile(rich).by_module["pool"] * 1e9 == 2 * (5 * dim + dim * 64 + 64)
    assert profile(plain).by_module["pool"] == 0


def test_what_could_not_learn_is_refused() -> None:
    VideoPool(4, "attention", num_frames=1, train_frames=1)  # never more than one: the mean
    with pytest.raises(ConfigError, match="set train_frames to 2 or more, or temporal=mean"):
        VideoPool(4, "attention", num_frames=4, train_frames=1)
    for bins in (1, -2, 2.5, True):
        with pytest.raises(ConfigError, match=f"bins={bins}: 0 for none, else"):
            VideoPool(4, bins=bins)  # type: ignore[arg-type]
