"""A bottleneck transformer (BoT) stack: residual blocks with global attention over a small map.

Modules are named as RQ-VQA's checkpoints name them (``net.0.net.3.to_qk.weight``).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BoTStack(nn.Module):
    """Maps in, maps of the same shape out. It starts as a ReLU: every block's last scale is 0.

    Args:
        dim: channels of the map.
        side: of the square map, in positions.
        num_blocks: residual blocks.
        heads: of attention.
        head_dim: of queries, keys and values.

    Source: Srinivas et al., Bottleneck Transformers, arXiv 2101.11605; as in RQ-VQA, botnet.py
        (dim 1024, side 12).
    """

    def __init__(
        self, dim: int, side: int, num_blocks: int = 3, heads: int = 4, head_dim: int = 128
    ) -> None:
        super().__init__()
        blocks = [BoTBlock(dim, side, heads, head_dim) for _ in range(num_blocks)]
        self.net = nn.Sequential(*blocks)

    def forward(self, maps: Tensor) -> Tensor:
        """(F, dim, side, side) -> the same."""
        return self.net(maps)


class BoTBlock(nn.Module):
    """Down to a quarter of the channels, attention, and back up, beside an identity."""

    def __init__(self, dim: int, side: int, heads: int, head_dim: int) -> None:
        super().__init__()
        inner, attended = dim // 4, heads * head_dim
        last = nn.BatchNorm2d(dim)
        nn.init.zeros_(last.weight)
        self.net = nn.Sequential(
            nn.Conv2d(dim, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            MapAttention(inner, side, heads, head_dim),
            nn.Identity(),  # a pooling where the stride is 2: it keeps the published numbering
            nn.BatchNorm2d(attended),
            nn.ReLU(),
            nn.Conv2d(attended, dim, 1, bias=False),
            last,
        )

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(maps + self.net(maps))


class MapAttention(nn.Module):
    """Every position attends to every other, by content and by relative row and column."""

    def __init__(self, dim: int, side: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.to_qk = nn.Conv2d(dim, 2 * heads * head_dim, 1, bias=False)
        self.to_v = nn.Conv2d(dim, heads * head_dim, 1, bias=False)
        self.pos_emb = RelativePosition(side, head_dim)

    def forward(self, maps: Tensor) -> Tensor:
        """(F, dim, side, side) -> (F, heads * head_dim, side, side)."""
        query, key = map(self._tokens, self.to_qk(maps).chunk(2, dim=1))
        query = query * self.head_dim**-0.5  # position meets the scaled query, too
        attended = F.scaled_dot_product_attention(
            query, key, self._tokens(self.to_v(maps)), attn_mask=self.pos_emb(query), scale=1.0
        )
        return attended.transpose(-1, -2).reshape(len(maps), -1, *maps.shape[-2:])

    def _tokens(self, maps: Tensor) -> Tensor:
        """(F, heads * head_dim, H, W) -> (F, heads, H * W, head_dim)."""
        return maps.unflatten(1, (self.heads, self.head_dim)).flatten(3).transpose(-1, -2)


class RelativePosition(nn.Module):
    """What position adds to the logits: a product with the key's relative row, and its column.

    Args:
        side: L, of the square map.
        head_dim: of the queries.

    Row ``m`` of ``rel_height`` and ``rel_width`` (2L - 1, head_dim) belongs to keys that lie
    ``m - (L - 1)`` below or right of the query.
    """

    offsets: Tensor

    def __init__(self, side: int, head_dim: int) -> None:
        super().__init__()
        self.rel_height = nn.Parameter(torch.randn(2 * side - 1, head_dim) * head_dim**-0.5)
        self.rel_width = nn.Parameter(torch.randn(2 * side - 1, head_dim) * head_dim**-0.5)
        at = torch.arange(side)
        self.register_buffer("offsets", at[None] - at[:, None] + side - 1, persistent=False)
        self.side = side

    def forward(self, query: Tensor) -> Tensor:
        """(F, heads, L * L, head_dim) -> (F, heads, L * L, L * L), row by row."""
        grid = query.unflatten(2, (self.side, self.side))
        rows = torch.einsum("fhyxd,yid->fhyxi", grid, self.rel_height[self.offsets])
        columns = torch.einsum("fhyxd,xjd->fhyxj", grid, self.rel_width[self.offsets])
        return (rows[..., :, None] + columns[..., None, :]).flatten(4).flatten(2, 3)
