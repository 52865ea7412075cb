"""Self-attention in 3D windows, with FAST-VQA's gated position bias."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_APART = 100.0  # taken off the scores of tokens that only the cyclic shift brought together

Triple = tuple[int, int, int]  # frames or times, rows, columns


class Layout(NamedTuple):
    """How a block cuts its map into windows: S of them over space, some over time.

    Gate and mask are kept per axis: no place in a window depends on its time, and all windows of
    one place share them, but for the one in time that mixes the clip's two ends.

    Attributes:
        size: of a window.
        shift: of the map before it is cut.
        padding: tokens appended, so that windows fill the map.
        gate: (S, 1, 1, h*w, 1, h*w): fragments between two tokens, rows plus columns.
        apart: like ``gate``, ``_APART`` where the shift wrapped one of two tokens only; None
            where no window mixes.
        mixed: index of the window in time that mixes; None where none does.
        apart_mixed: (t, 1, t, 1) like ``apart``, for that window.
    """

    size: Triple
    shift: Triple
    padding: Triple
    gate: Tensor
    apart: Tensor | None
    mixed: int | None
    apart_mixed: Tensor | None


def make_layout(
    shape: Sequence[int], window: Triple, shift: Triple, device: torch.device
) -> Layout:
    """Lay windows over a map.

    Args:
        shape: of the map, in tokens.
        window: wanted size; an axis no longer than it becomes one window and does not shift.
        shift: wanted shift.
        device: of the tensors.

    Source: FAST-VQA, swin_backbone.py: ``get_window_size``, ``compute_mask`` and
        ``global_position_index``, where the map has as many fragments per side as a window has
        tokens.
    """
    size, moved, padding, gates, masks, mixes = [], [], [], [], [], []
    for n, wanted, by in zip(shape, window, shift, strict=True):
        w, s = (n, 0) if n <= wanted else (wanted, by)
        length = n + -n % w
        fragment = (torch.arange(length, device=device) // (length // w)).roll(-s).view(-1, w)
        wrapped = (torch.arange(length, device=device) >= length - s).view(-1, w)
        size.append(w)
        moved.append(s)
        padding.append(length - n)
        gates.append((fragment[:, :, None] - fragment[:, None]).abs())
        masks.append(_APART * (wrapped[:, :, None] != wrapped[:, None]))
        mixes.append((length - s) // w if s % w else None)

    def over_space(rows: Tensor, columns: Tensor) -> Tensor:
        """Two axes' (windows, w, w) -> (S, 1, 1, h*w, 1, h*w), added."""
        both = rows[:, None, :, None, :, None] + columns[None, :, None, :, None, :]
        return both.reshape(-1, 1, 1, size[1] * size[2], 1, size[1] * size[2])

    mixed = mixes[0]
    return Layout(
        size=(size[0], size[1], size[2]),
        shift=(moved[0], moved[1], moved[2]),
        padding=(padding[0], padding[1], padding[2]),
        gate=over_space(*gates[1:]).float(),
        apart=None if mixes[1] is mixes[2] is None else over_space(*masks[1:]),
        mixed=mixed,
        apart_mixed=None if mixed is None else masks[0][mixed, :, None, :, None],
    )


class WindowAttention(nn.Module):
    """Self-attention within windows, with a bias by relative position.

    A gated one has two tables. With g fragments between two tokens (rows plus columns), their
    bias is ``g * relative + (1 - g) * fragment``: the fragment table within a fragment, the
    relative one between neighbours, and what the two extrapolate to beyond.

    Args:
        dim: C, channels.
        heads: that divide them.
        window: largest size; smaller windows use the tables' corner.
        gated: whether it has the second table.

    Source: FAST-VQA, swin_backbone.py: ``WindowAttention3D``.
    Differs: the paper's gate is 0 or 1; the released networks were trained with the distance.
    """

    relative_position_index: Tensor
    fragment_position_bias_table: nn.Parameter | None

    def __init__(self, dim: int, heads: int, window: Triple, gated: bool) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        spans = [2 * w - 1 for w in window]
        rows = spans[0] * spans[1] * spans[2]
        self.relative_position_bias_table = nn.Parameter(torch.empty(rows, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        second = nn.Parameter(torch.zeros(rows, heads)) if gated else None
        self.register_parameter("fragment_position_bias_table", second)
        index = torch.zeros((), dtype=torch.long)
        for axis, (w, span) in enumerate(zip(window, spans, strict=True)):
            offset = torch.arange(w)[:, None] - torch.arange(w) + w - 1
            index = index * span + offset.view([w if i % 3 == axis else 1 for i in range(6)])
        # Persistent because the published state dicts hold it.
        self.register_buffer("relative_position_index", index.flatten(3).flatten(0, 2))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Attend within the windows of a map that is padded and shifted.

        Args:
            x: (B, T, H, W, C), T, H and W multiples of the window's size.
            layout: of the windows.

        Returns:
            (B, T, H, W, C).
        """
        (b, *lengths, c), (t, h, w) = x.shape, layout.size
        times, rows, columns = (n // s for n, s in zip(lengths, layout.size, strict=True))
        heads, tokens = self.heads, t * h * w
        qkv = self.qkv(x).view(b, times, t, rows, h, columns, w, 3, heads, c // heads)
        # Windows over space stand beside the heads, where each meets its own bias, and those over
        # time beside the batch, which shares it: so the bias is never copied. This is the only
        # copy of q, k and v.
        qkv = qkv.permute(7, 1, 0, 3, 5, 8, 2, 4, 6, 9)
        qkv = qkv.reshape(3, times, b, rows * columns * heads, tokens, c // heads)
        edges = [0, times] if layout.mixed is None else [0, layout.mixed, layout.mixed + 1, times]
        outs = []
        for first, end in pairwise(edges):
            if first < end:
                q, k, v = qkv[:, first:end].flatten(1, 2)
                bias = self._bias(layout, layout.apart_mixed if first == layout.mixed else None)
                outs.append(F.scaled_dot_product_attention(q, k, v, bias.to(q.dtype)))
        out = torch.cat(outs) if len(outs) > 1 else outs[0]
        out = out.view(times, b, rows, columns, heads, t, h, w, c // heads)
        return self.proj(out.permute(1, 0, 5, 2, 6, 3, 7, 4, 8).reshape(x.shape))

    def _bias(self, layout: Layout, apart_in_time: Tensor | None) -> Tensor:
        """(1, S * heads, N, N), N tokens of a window, with the masks in it."""
        t, h, w = layout.size
        index = self.relative_position_index.view(*self.window, *self.window)
        index = index[:t, :h, :w, :t, :h, :w].flatten()
        shape = (self.heads, t, h * w, t, h * w)
        mask = 0.0 if apart_in_time is None else apart_in_time
        relative = self.relative_position_bias_table.t()[:, index].view(shape)
        if self.fragment_position_bias_table is None:
            bias = (relative - mask).repeat(len(layout.gate), 1, 1, 1, 1, 1)
        else:
            fragment = self.fragment_position_bias_table.t()[:, index].view(shape)
            bias = torch.addcmul(fragment - mask, layout.gate, relative - fragment)
        if layout.apart is not None:
            bias.sub_(layout.apart)  # in place: at 56x56 tokens the bias takes 118 MB
        return bias.view(1, -1, t * h * w, t * h * w)
