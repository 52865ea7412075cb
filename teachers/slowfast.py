"""Motion features of SlowFast R50 as trained on Kinetics-400: both pathways, or one of them."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import torch
from pytorchvideo.models.hub import slowfast_r50
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from distill.checks import as_list, one_of
from distill.data.sampling import slow_pathway
from distill.data.views import MotionChunks, View
from distill.errors import ConfigError
from distill.state_dicts import fill, read_state
from distill.weight_files import WeightFile
from distill.weights import WeightsInfo
from teachers.member import Member

KINETICS = WeightFile(
    name="SLOWFAST_8x8_R50.pyth",
    about="SlowFast R50 8x8 trained on Kinetics-400, from pytorchvideo's model zoo",
    license="Apache-2.0",
    url="https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R50.pyth",
)
CHANNELS = {"slow": 2048, "fast": 256}  # of the last stage
ALPHA = 4  # frames of the fast pathway to one of the slow pathway
AT_ONCE = 8  # chunks that go through the network together
_CLASSIFIER = "blocks.6.proj."


class SlowFast(Member):
    """Chunks in, one vector per chunk out: the mean over time and space of the last stage.

    The lateral connections lead from the fast pathway to the slow one alone, so that ``[fast]``
    computes nothing of the slow one: 5.37 GMACs a chunk of 32x224x224 and 0.51 M parameters, in
    place of 50.58 and 33.64 M. ``[slow]`` leaves out the fast pathway's last stage: 49.97.

    Args:
        paths: ``[slow, fast]``, ``[slow]`` or ``[fast]``; slow features always come first.
        weights: ``auto`` finds or downloads ``KINETICS``, ``none`` leaves them random for a state
            dict that follows, else the path of that file, or of a state dict that SimpleVQA's
            feature extractor was saved to.
        view: chunks of T frames, (N, T, 3, H, W); None is :class:`MotionChunks`. T must be a
            multiple of 4 for the slow pathway.
        trainable: BatchNorm keeps the statistics of Kinetics all the same.
        lr: its own peak learning rate; None takes the training's.

    Raises:
        ConfigError: ``paths`` or ``view`` cannot be used.
        WeightsError: the weights are missing or do not fit.

    Source: pytorchvideo, ``slowfast_r50`` and SimpleVQA's ``extract_SlowFast_features_LSVQ.py``:
        both pathways (2304); RQ-VQA and MinimalisticVQA take the fast one (256).
    Differs: they pool windows of 7x7 positions and then their mean, which at 224 pixels is the
        mean over all; at other sizes this is the plain mean.
    """

    def __init__(
        self,
        paths: Sequence[str] = ("slow", "fast"),
        weights: str = "auto",
        view: View | None = None,
        trainable: bool = False,
        lr: float | None = None,
    ) -> None:
        chosen = as_list(paths)
        for name in chosen:
            one_of("paths", name, CHANNELS)
        if not chosen or len(set(chosen)) < len(chosen):
            raise ConfigError(f"paths: {chosen}; give [slow, fast], [slow] or [fast]")
        view = view or MotionChunks()
        _check(view, "slow" in chosen)

        net: Any = slowfast_r50(pretrained=False)
        info = WeightsInfo("none", "random initialisation", "none")
        if weights != "none":
            path, info = KINETICS.find(weights)
            state = {_renamed(key): tensor for key, tensor in read_state(path).items()}
            # All of it is checked, whatever is cut off afterwards. SimpleVQA's has no classifier.
            fill(net, state, str(path), "SlowFast R50", optional=(_CLASSIFIER,))
        super().__init__(view, info, trainable=trainable, lr=lr)
        self.paths = [name for name in CHANNELS if name in chosen]
        self.feature_dim = sum(CHANNELS[name] for name in self.paths)
        self.blocks = net.blocks[:5]  # then come pooling and the classifier
        self._cut()
        self._slow_frames: list[int] = []
        if "slow" in self.paths:
            self._slow_frames = slow_pathway(view.shape[1], ALPHA).tolist()
        self._checkpointed = False
        self.ready((0.45,) * 3, (0.225,) * 3)

    def _cut(self) -> None:
        """Leave out what the chosen pathways do not need; the names of the rest stay."""
        if "slow" not in self.paths:
            for block in self.blocks:
                block.multipathway_blocks[0] = block.multipathway_fusion = None
        if "fast" not in self.paths:
            self.blocks[-1].multipathway_blocks[1] = None

    def extra_repr(self) -> str:
        return f"paths={self.paths}"

    def train(self, mode: bool = True) -> Self:
        """As ``nn.Module.train``, but BatchNorm, all that could change, stays as it was trained."""
        super().train(mode)
        self.blocks.eval()
        return self

    def extract(self, view: Tensor) -> Tensor:
        """Features of every chunk of every video.

        Args:
            view: (B, N, T, 3, H, W) uint8 RGB.

        Returns:
            (B, N, feature_dim) float32.
        """
        run = self._features
        if self._checkpointed and torch.is_grad_enabled():
            run = partial(checkpoint, self._features, use_reentrant=False)
        # Few at a time: 8 chunks hold 0.15 GB of normalised pixels alone.
        features = torch.cat([run(chunks) for chunks in view.flatten(0, 1).split(AT_ONCE)])
        return features.reshape(view.shape[0], -1, self.feature_dim)

    def _features(self, chunks: Tensor) -> Tensor:
        """(K, T, 3, H, W) uint8 -> (K, feature_dim)."""
        fast = self.normalised(chunks).transpose(1, 2)
        # The blocks write into this list, and pass over the pathways that were cut off.
        maps: list[Tensor | None] = [None, fast]
        if "slow" in self.paths:
            maps[0] = fast[:, :, self._slow_frames]
        for block in self.blocks:
            maps = block(maps)
        chosen = [m for name, m in zip(CHANNELS, maps, strict=True) if name in self.paths]
        return torch.cat([m.float().mean((2, 3, 4)) for m in chosen if m is not None], dim=-1)

    def checkpoint_gradients(self) -> None:
        self._checkpointed = True


def _check(view: View, slow: bool) -> None:
    shape = view.shape
    if len(shape) != 5:
        raise ConfigError(
            f"view: {type(view).__name__} yields {tuple(shape)}, not chunks (N, T, 3, H, W); give"
            " {kind: motion_chunks}"
        )
    if slow and (shape[1] % ALPHA or shape[1] < 2 * ALPHA):
        raise ConfigError(
            f"view.chunk_len={shape[1]}: the slow pathway needs a multiple of {ALPHA}, at least"
            f" {2 * ALPHA}; give 32, or paths=[fast]"
        )


def _renamed(key: str) -> str:
    """SimpleVQA's wrapper calls the blocks ``feature_extraction``."""
    return re.sub(r"^feature_extraction\.(?=\d\.)", "blocks.", key)
