"""torchvision's Swin Transformers behind the few methods of timm's that a member uses.

Where a map is no multiple of the window, torchvision pads it and then shifts it; timm shifts it and
then pads it. On 384 pixels with windows of 7 the same weights give other features (random ones: off
by 3% of the largest feature), so MinimalisticVQA's ``swin_b`` is this one.
"""

from pathlib import PurePosixPath
from urllib.parse import urlparse

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from distill.checks import one_of
from distill.errors import ConfigError
from distill.state_dicts import fill, read_state
from distill.weight_files import WeightFile
from distill.weights import WeightsInfo

PREFIX = "torchvision/"
NAMES = ("swin_t", "swin_s", "swin_b")


class TorchvisionSwin(nn.Module):
    """``swin_t``, ``swin_s`` or ``swin_b``; tensors are named as torchvision names them.

    Attributes:
        num_features: channels of the last map.
        pretrained_cfg: ``mean`` and ``std`` of the pixels.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        net = getattr(torchvision.models, name)()
        self.features, self.norm, self.head = net.features, net.norm, net.head
        self.num_features: int = net.head.in_features
        self.pretrained_cfg = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
        self._checkpointed = False

    def forward_features(self, pixels: Tensor) -> Tensor:
        """(F, 3, H, W) normalised -> (F, H / 32, W / 32, num_features)."""
        x = self.features[0](pixels)
        for stage in self.features[1:]:
            for block in stage if isinstance(stage, nn.Sequential) else (stage,):
                if self._checkpointed and torch.is_grad_enabled():
                    x = checkpoint(block, x, use_reentrant=False)
                else:
                    x = block(x)
        return self.norm(x)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute every block anew for the backward pass."""
        self._checkpointed = enable

    def reset_classifier(self, num_classes: int, global_pool: str = "") -> None:
        """Remove the classifier; both arguments are timm's."""
        self.head = nn.Identity()


def load_torchvision(backbone: str, weights: str) -> tuple[TorchvisionSwin, WeightsInfo]:
    """Build ``torchvision/NAME``, filled under ``auto`` and random under ``none``.

    Raises:
        ConfigError: there is no such network or no such source.
        WeightsError: the weights are missing.
    """
    name = backbone.removeprefix(PREFIX)
    one_of("backbone", backbone, [PREFIX + known for known in NAMES])
    if weights not in ("auto", "none"):
        raise ConfigError(f"weights={weights}: {backbone} takes auto, none or the path of a file")
    net = TorchvisionSwin(name)
    if weights == "none":
        return net, WeightsInfo("none", "random initialisation", "none")
    path, info = published_weights(backbone).find()
    fill(net, read_state(path), str(path), backbone)
    return net, info


def published_weights(backbone: str) -> WeightFile:
    """The ImageNet weights of ``torchvision/NAME``."""
    name = backbone.removeprefix(PREFIX)
    url: str = torchvision.models.get_model_weights(name).DEFAULT.url
    file = PurePosixPath(urlparse(url).path)
    return WeightFile(
        name=file.name,
        about=f"torchvision's {name} trained on ImageNet-1k",
        license="BSD-3-Clause",
        url=url,
        sha256=file.stem.rpartition("-")[2],  # torchvision ends the name with its beginning
    )
