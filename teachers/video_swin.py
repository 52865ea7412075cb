"""Video Swin-T as FAST-VQA has it: clips of fragments in, maps of features out."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from teachers.window_attention import Layout, Triple, WindowAttention, make_layout

_PATCH = (2, 4, 4)
_DIM, _DEPTHS, _HEADS = 96, (2, 2, 6, 2), (3, 6, 12, 24)
_STRIDE = 32  # pixels of the last stage's tokens


class Mlp(nn.Module):
    """Two layers, four times as wide between."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Window attention and an MLP, each around a skip connection."""

    def __init__(self, dim: int, heads: int, window: Triple, gated: bool, drop: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, heads, window, gated)
        self.mlp = Mlp(dim)
        self.drop_path = DropPath(drop)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        x = x + self.drop_path(self._attend(self.norm1(x), layout))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor, layout: Layout) -> Tensor:
        t, h, w = x.shape[1:4]
        if any(layout.padding):
            more_t, more_h, more_w = layout.padding
            x = F.pad(x, (0, 0, 0, more_w, 0, more_h, 0, more_t))
        if any(layout.shift):
            x = x.roll([-s for s in layout.shift], (1, 2, 3))
        x = self.attn(x, layout)
        if any(layout.shift):
            x = x.roll(layout.shift, (1, 2, 3))
        return x[:, :t, :h, :w]


class PatchMerging(nn.Module):
    """Two by two tokens become one of twice the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))


class Stage(nn.Module):
    """Blocks of one size, every second one shifted by half a window, then a merging."""

    def __init__(
        self, dim: int, heads: int, window: Triple, gated: bool, drops: Sequence[float], last: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, heads, window, gated, drop) for drop in drops)
        self.downsample = None if last else PatchMerging(dim)
        # Of the full window, also where the input makes windows smaller.
        self.shift: Triple = (window[0] // 2, window[1] // 2, window[2] // 2)

    def forward(self, x: Tensor, window: Triple, checkpointing: bool) -> Tensor:
        layouts = [
            make_layout(x.shape[1:4], window, shift, x.device) for shift in ((0, 0, 0), self.shift)
        ]
        for i, block in enumerate(self.blocks):
            if checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, layouts[i % 2], use_reentrant=False)
            else:
                x = block(x, layouts[i % 2])
        return x if self.downsample is None else self.downsample(x)


class PatchEmbed(nn.Module):
    """Clip to tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, _DIM, _PATCH, _PATCH)
        self.norm = nn.LayerNorm(_DIM)

    def forward(self, clips: Tensor) -> Tensor:
        return self.norm(self.proj(clips).permute(0, 2, 3, 4, 1))


class VideoSwin(nn.Module):
    """Video Swin-T as FAST-VQA publishes it, under the published names.

    Args:
        window: size in tokens, for a clip of ``base``; a smaller clip gets proportionally smaller
            windows, which is FasterVQA's adaptive multi-scale inference.
        gated: per stage, whether its attention tells fragments apart.
        drop_path: of the last block while training, in [0, 1); earlier ones in proportion.
        base: frames, height and width in pixels of the clips that ``window`` is meant for.

    Attributes:
        checkpointing: whether training keeps only what goes into each block.

    Source: Video Swin Transformer (Liu et al., CVPR 2022); FAST-VQA (Wu et al., ECCV 2022),
        swin_backbone.py: ``SwinTransformer3D``.
    """

    def __init__(
        self,
        window: Triple = (8, 7, 7),
        gated: Sequence[bool] = (True, True, True, False),
        drop_path: float = 0.1,
        base: Triple = (32, 224, 224),
    ) -> None:
        super().__init__()
        self.window, self.base = window, base
        self.checkpointing = False
        self.patch_embed = PatchEmbed()
        drops = torch.linspace(0, drop_path, sum(_DEPTHS)).split(_DEPTHS)
        self.layers = nn.ModuleList(
            Stage(_DIM * 2**i, _HEADS[i], window, gated[i], drops[i].tolist(), last=i == 3)
            for i in range(len(_DEPTHS))
        )
        self.norm = nn.LayerNorm(_DIM * 2**3)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def window_for(self, clip: Sequence[int]) -> Triple:
        """Size of the windows on a clip.

        Args:
            clip: frames, height and width in pixels.

        Raises:
            ValueError: the network cannot take it.
        """
        t, h, w = (k * n // b for k, n, b in zip(self.window, clip, self.base, strict=True))
        whole = clip[0] % _PATCH[0] == clip[1] % _STRIDE == clip[2] % _STRIDE == 0
        fits = all(n <= b for n, b in zip(clip, self.base, strict=True)) and min(t, h, w) > 0
        if not (whole and fits):
            raise ValueError(
                f"clips of {clip[0]} frames of {clip[2]}x{clip[1]} pixels: frames must be even,"
                f" sides multiples of {_STRIDE}, both at most {self.base[0]} frames of"
                f" {self.base[2]}x{self.base[1]}, and windows, {self.window} for these, not empty"
            )
        return t, h, w

    def forward(self, clips: Tensor) -> Tensor:
        """Clips to maps.

        Args:
            clips: (B, 3, T, H, W) normalised.

        Returns:
            (B, T/2, H/32, W/32, 768), channels last.
        """
        window = self.window_for(clips.shape[2:])
        x = self.patch_embed(clips)
        for stage in self.layers:
            x = stage(x, window, self.checkpointing)
        return self.norm(x)
