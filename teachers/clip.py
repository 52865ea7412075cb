"""CLIP's two towers under the names of OpenAI's checkpoints: images and texts as vectors."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

PATCH, SIDE = 32, 224
DIM = 512  # of both towers' vectors
CONTEXT, VOCABULARY = 77, 49408
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
_HEAD = 64  # columns of one attention head, in both towers


class Clip(nn.Module):
    """CLIP ViT-B/32: two towers whose vectors are near where image and text belong together.

    Args:
        layers: of each tower; published checkpoints have 12.

    Source: Radford et al., ICML 2021; sizes and names of OpenAI's ViT-B-32 checkpoint.
    Differs: attention runs in torch's fused kernel, in float32 or under autocast; OpenAI's towers
        are float16 on a GPU.
    """

    def __init__(self, layers: int = 12) -> None:
        super().__init__()
        self.visual = ImageTower(layers)
        self.token_embedding = nn.Embedding(VOCABULARY, DIM)
        self.positional_embedding = _normal(CONTEXT, DIM, std=0.01)
        self.transformer = Transformer(DIM, layers, causal=True)
        self.ln_final = nn.LayerNorm(DIM)
        self.text_projection = _normal(DIM, DIM, std=DIM**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Vectors of texts.

        Args:
            tokens: (K, up to 77) int64. The last one of a text has the highest number of all.

        Returns:
            (K, 512).
        """
        last = tokens.argmax(-1)
        # Attention looks back only, so that nothing after the last token of a text counts.
        tokens = tokens[:, : int(last.max()) + 1]
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        x = self.ln_final(self.transformer(x))
        return x[torch.arange(len(x), device=x.device), last] @ self.text_projection


class ImageTower(nn.Module):
    """CLIP's ViT-B/32.

    Args:
        layers: of the transformer.
    """

    def __init__(self, layers: int = 12) -> None:
        super().__init__()
        width = 768
        self.conv1 = nn.Conv2d(3, width, PATCH, PATCH, bias=False)
        self.class_embedding = _normal(width, std=width**-0.5)
        self.positional_embedding = _normal((SIDE // PATCH) ** 2 + 1, width, std=width**-0.5)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers)
        self.ln_post = nn.LayerNorm(width)
        self.proj = _normal(width, DIM, std=width**-0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Vectors of images.

        Args:
            images: (F, 3, 224, 224), normalised.

        Returns:
            (F, 512).
        """
        cells = self.conv1(images).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(cells), 1, -1)
        x = torch.cat([first, cells], dim=1) + self.positional_embedding
        x = self.transformer(self.ln_pre(x))
        return self.ln_post(x[:, 0]) @ self.proj


class Transformer(nn.Module):
    """Blocks of attention and MLP, with norms before each.

    Args:
        width: of a token.
        layers: blocks.
        causal: tokens see themselves and earlier ones only.

    Attributes:
        checkpointing: keep the input of each block only, and compute the rest again on the way
            back.
    """

    def __init__(self, width: int, layers: int, causal: bool = False) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(_Block(width, causal) for _ in range(layers))
        self.checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """(K, L, width) -> (K, L, width)."""
        for block in self.resblocks:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x


class _Block(nn.Module):
    def __init__(self, width: int, causal: bool) -> None:
        super().__init__()
        self.attn = _Attention(width, causal)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = _Mlp(width)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class _Attention(nn.Module):
    """The parameters of ``nn.MultiheadAttention``, whose fast path no counter of costs sees."""

    def __init__(self, width: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.in_proj_weight = _normal(3 * width, width, std=width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        query, key, value = parts.unflatten(-1, (3, -1, _HEAD)).permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.out_proj(x.transpose(1, 2).flatten(2))


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c_fc(x)
        return self.c_proj(x * torch.sigmoid(1.702 * x))  # OpenAI's approximation of GELU


def _normal(*shape: int, std: float) -> nn.Parameter:
    return nn.Parameter(std * torch.randn(shape))
