"""Video Swin against a slow reference that knows no windows, and against torchvision's."""

import re

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import erf, softmax
from torch import Tensor
from torchvision.models.video import swin3d_t

from teachers.video_swin import VideoSwin

Array = NDArray[np.float64]
Triple = tuple[int, int, int]


class _Plain:
    """The network's formulas, token by token, on one clip in float64."""

    def __init__(self, state: dict[str, Tensor], table_window: Triple) -> None:
        self.state = {key: value.numpy() for key, value in state.items()}
        self.table_window = table_window

    def clip(self, clip: Array, window: Triple, shift: Triple) -> Array:
        """(3, T, H, W) -> (T/2, H/32, W/32, 768)."""
        t, h, w = clip.shape[1:]
        cubes = clip.reshape(3, t // 2, 2, h // 4, 4, w // 4, 4).transpose(1, 3, 5, 0, 2, 4, 6)
        kernel = self.state["patch_embed.proj.weight"].reshape(96, -1)
        x = cubes.reshape(t // 2, h // 4, w // 4, -1) @ kernel.T
        x = self.norm(x + self.state["patch_embed.proj.bias"], "patch_embed.norm")
        for stage, blocks in enumerate((2, 2, 6, 2)):
            for i in range(blocks):
                name = f"layers.{stage}.blocks.{i}"
                own_shift = shift if i % 2 else (0, 0, 0)
                x = x + self.attention(self.norm(x, f"{name}.norm1"), name, window, own_shift)
                wide = self.linear(self.norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")
                x = x + self.linear(wide * (1 + erf(wide / np.sqrt(2))) / 2, f"{name}.mlp.fc2")
            if stage < 3:
                four = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
                name = f"layers.{stage}.downsample"
                merged = self.norm(np.concatenate(four, axis=-1), f"{name}.norm")
                x = merged @ self.state[f"{name}.reduction.weight"].T
        return self.norm(x, "norm")

    def norm(self, x: Array, name: str) -> Array:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def linear(self, x: Array, name: str) -> Array:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def attention(self, x: Array, name: str, window: Triple, shift: Triple) -> Array:
        shape = x.shape[:3]
        size = np.minimum(window, shape)
        moved = np.where(np.array(shape) <= window, 0, shift)
        full = -(-np.array(shape) // size) * size  # windows fill the map with zeros after the norm
        padded = np.zeros((*full, x.shape[3]))
        padded[: shape[0], : shape[1], : shape[2]] = x
        at = np.indices(full).reshape(3, -1).T  # place of every token
        # Tokens attend to those that share a window of the shifted map, if the shift wrapped
        # both of them around an edge or neither.
        kin = np.concatenate([(at - moved) % full // size, at < moved % full], axis=1)
        fragment = at[:, 1:] * size[1:] // full[1:]

        heads = self.state[f"{name}.attn.relative_position_bias_table"].shape[1]
        qkv = self.linear(padded.reshape(len(at), -1), f"{name}.attn.qkv")
        q, k, v = qkv.reshape(len(at), 3, heads, -1).transpose(1, 0, 2, 3)
        out = np.zeros((len(at), x.shape[3]))
        for token in np.flatnonzero((at < shape).all(axis=1)):
            others = np.flatnonzero((kin == kin[token]).all(axis=1))
            logits = np.einsum("hd,nhd->hn", q[token], k[others]) / np.sqrt(q.shape[-1])
            gate = np.abs(fragment[token] - fragment[others]).sum(axis=1)
            logits += self.bias(name, at[token] - at[others], gate)
            out[token] = np.einsum("hn,nhd->hd", softmax(logits, axis=1), v[others]).ravel()
        kept = out.reshape(*full, -1)[: shape[0], : shape[1], : shape[2]]
        return self.linear(kept, f"{name}.attn.proj")

    def bias(self, name: str, offsets: Array, gate: Array) -> Array:
        """(heads, n): g * relative + (1 - g) * fragment."""
        spans = tuple(2 * w - 1 for w in self.table_window)
        rows = np.ravel_multi_index(tuple((offsets + self.table_window - 1).T), spans)
        relative = self.state[f"{name}.attn.relative_position_bias_table"][rows].T
        key = f"{name}.attn.fragment_position_bias_table"
        if key not in self.state:
            return relative
        return gate * relative + (1 - gate) * self.state[key][rows].T


def _net(window: Triple = (8, 7, 7), **options: object) -> VideoSwin:
    """With biases and tables large enough to matter."""
    torch.manual_seed(0)
    net = VideoSwin(window, **options).eval().double()  # type: ignore[arg-type]
    with torch.no_grad():
        for key, parameter in net.named_parameters():
            if key.endswith("bias_table"):
                parameter.normal_(std=0.5)
            elif parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
            else:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return net


@pytest.mark.parametrize(
    ("clip", "base", "window"),
    [
        # Windows as for a whole input: shifted in time and space, padded at every stage but one.
        ((18, 64, 64), (18, 64, 64), (8, 7, 7)),
        # Adaptive ones: 3x2x2, so that the shift of 4x3x3 is more than a window.
        ((12, 64, 64), (32, 224, 224), (3, 2, 2)),
        # Sides differ.
        ((8, 96, 64), (32, 224, 224), (2, 3, 2)),
    ],
)
def test_every_token_by_hand(clip: Triple, base: Triple, window: Triple) -> None:
    net = _net(base=base)
    assert net.window_for(clip) == window
    frames = torch.randn(1, 3, *clip, dtype=torch.float64)
    with torch.inference_mode():
        ours = net(frames)[0]
    state = {k: v for k, v in net.state_dict().items() if "index" not in k}
    expected = _Plain(state, (8, 7, 7)).clip(frames[0].numpy(), window, (4, 3, 3))
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-6 * expected.std())


def test_without_tables_of_fragments() -> None:
    net = _net((4, 4, 4), gated=(False,) * 4, base=(16, 64, 64))
    frames = torch.randn(1, 3, 12, 64, 64, dtype=torch.float64)
    with torch.inference_mode():
        ours = net(frames)[0]
    expected = _Plain(net.state_dict(), (4, 4, 4)).clip(frames[0].numpy(), (3, 4, 4), (2, 2, 2))
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-6 * expected.std())


def _as_torchvision(key: str) -> str:
    """Our key of stage i -> torchvision's: stages and mergings are numbered together."""
    key = re.sub(r"^layers\.(\d)\.blocks", lambda m: f"features.{2 * int(m[1])}", key)
    key = re.sub(r"^layers\.(\d)\.downsample", lambda m: f"features.{2 * int(m[1]) + 1}", key)
    return key.replace("mlp.fc1", "mlp.0").replace("mlp.fc2", "mlp.3")


def test_torchvision_where_both_tables_are_equal() -> None:
    """Equal tables make any gate irrelevant. 18 frames: padded and shifted in time."""
    net = _net(base=(18, 224, 224)).float()
    for module in net.modules():
        tables = dict(module.named_parameters(recurse=False))
        if tables.get("fragment_position_bias_table") is not None:
            tables["fragment_position_bias_table"].data = tables[
                "relative_position_bias_table"
            ].data.clone()
    theirs = swin3d_t().eval()
    state = {_as_torchvision(k): v for k, v in net.state_dict().items() if "fragment" not in k}
    for key, value in theirs.state_dict().items():
        assert not key.endswith("index") or torch.equal(state[key], value)
    result = theirs.load_state_dict(state, strict=False)
    assert not result.unexpected_keys
    assert result.missing_keys == ["head.weight", "head.bias"]
    clip = torch.randn(1, 3, 18, 224, 224)
    with torch.inference_mode():
        expected = theirs.norm(theirs.features(theirs.pos_drop(theirs.patch_embed(clip))))
        ours = net(clip)
    torch.testing.assert_close(ours, expected, rtol=0, atol=2e-4)


def test_clips_that_do_not_fit_are_refused() -> None:
    net = VideoSwin()
    for clip in [(31, 224, 224), (32, 224, 220), (34, 224, 224), (32, 256, 224), (2, 224, 224)]:
        with pytest.raises(ValueError, match=f"clips of {clip[0]} frames of {clip[2]}x{clip[1]}"):
            net.window_for(clip)
    assert net.window_for((16, 160, 160)) == (4, 5, 5)
