"""E-VQA's student: one Swin-T on whole frames, another on native fragments of them."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from distill.data.views import Fragments, KeyFrames
from distill.errors import ConfigError
from distill.model import Prediction, full_precision
from distill.state_dicts import fill, read_state
from distill.weight_files import WeightFile
from distill.weights import WeightsInfo
from students.head import Student, VideoPool
from teachers.torchvision_swin import PREFIX, TorchvisionSwin, load_torchvision

_PATCH = 32
_SWIN = "swin_t"
PUBLISHED = WeightFile(
    name="UVQA_0.8967.pth",
    about="E-VQA's student as trained on KVQ, linked in the README of sunwei925/E-VQA",
    license="unknown (the repository has no LICENSE; its README says Apache-2.0)",
)
INITIAL = WeightFile(
    name="MinimalisticVQA_Model_SwinT_SlowFast.pth",
    about="what E-VQA begins with, linked in the README of sunwei925/MinimalisticVQA",
    license="Apache-2.0",
)


class SwinTower(TorchvisionSwin):
    """torchvision's Swin-T without a classifier: normalised pixels in, a vector per frame out.

    Attributes:
        info: where its weights came from.
        trainable: always; see :meth:`~distill.model.QualityModel.checkpoint_gradients`.
    """

    trainable = True

    def __init__(self) -> None:
        super().__init__(_SWIN)
        self.reset_classifier(0)
        self.info = WeightsInfo("none", "random initialisation", "none")

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, T, 3, S, S) normalised -> (B, T, 768) float32."""
        maps = self.forward_features(pixels.flatten(0, 1))
        return maps.float().mean((1, 2)).unflatten(0, pixels.shape[:2])

    def checkpoint_gradients(self) -> None:
        """Compute activations anew for the backward pass."""
        self.set_grad_checkpointing(True)


class EVQAStudent(Student):
    """Two Swin-T that share nothing, their features joined per frame, two linear layers.

    Args:
        num_frames: T, frames per video: the middle ones of the seconds 0, 2, 4 ...
        train_frames: frames per video and step in training, drawn anew each time; None is T.
        size: side in pixels of what either tower sees: the frame's short side is resized to it
            and a square cut, and as many fragments of 32 as fill it. A multiple of 32; 224 and 448
            waste no padding in the 7x7 windows, 384 is published.
        hidden: width between the linear layers.
        temporal, bins: as in :class:`~students.head.VideoPool`; not E-VQA's.
        weights: ``auto`` takes torchvision's ImageNet weights for both towers, ``none`` random
            ones. Else the path of a file: E-VQA's ``UVQA_0.8967.pth``, which holds the head too;
            or for both towers MinimalisticVQA's ``MinimalisticVQA_Model_SwinT_SlowFast.pth``, with
            which E-VQA began, or torchvision's.
        score_mean: mean of the labels; an untrained network's scores lie around it.
        score_std: standard deviation of the labels, > 0; the unit the network predicts in.

    Raises:
        ConfigError: a value is out of range.
        WeightsError: the weights are missing or do not fit.

    Source: E-VQA (sunwei925/E-VQA, third of NTIRE 2025), models/UIQA.py: structure, names of
        tensors, torchvision's Swin-T; 114.83 GMACs and 55.24 M parameters for 4 frames.
    Differs: places of fragments follow from the video's content, where the published code draws
        anew at every run. Where a video is short, the last frame of every second one is repeated;
        E-VQA repeats before it leaves out every second one.
    """

    BACKBONE = PREFIX + _SWIN
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        num_frames: int = 4,
        train_frames: int | None = None,
        size: int = 384,
        hidden: int = 128,
        temporal: str = "mean",
        bins: int = 0,
        weights: str = "auto",
        score_mean: float = 0.0,
        score_std: float = 1.0,
    ) -> None:
        super().__init__()
        self.set_score_scale(score_mean, score_std)
        try:
            self.views = {
                "frames": KeyFrames(
                    num_frames, size, size, train_frames, sampling="second_middle", seconds=2
                ),
                "fragments": Fragments(
                    size // _PATCH, _PATCH, num_frames, clip_len=1, train_clips=train_frames,
                    sampling="second_middle", seconds=2,
                ),
            }  # fmt: skip
        except (TypeError, ValueError) as error:
            raise ConfigError(f"EVQAStudent: {error}") from error
        if size % _PATCH or hidden < 1:
            raise ConfigError(
                f"EVQAStudent: size {size} must be a multiple of {_PATCH}, hidden {hidden} >= 1"
            )
        self.aesthetics_feature_extraction = SwinTower()
        self.distortion_feature_extraction = SwinTower()
        dim = sum(tower.num_features for tower in self._towers)
        self.pool = VideoPool(dim, temporal, bins, num_frames, train_frames)
        self.quality = nn.Sequential(nn.Linear(dim, hidden), nn.Linear(hidden, self.pool.outputs))
        for name in ("mean", "std"):
            # On the uint8 scale. Not saved: the published state dict has no such tensors.
            value = 255 * torch.tensor(self._towers[0].pretrained_cfg[name]).view(3, 1, 1)
            self.register_buffer(name, value, persistent=False)
        self._load(weights)

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        """Score ``frames`` (B, T, 3, S, S) and ``fragments`` (B, T, 1, 3, S, S), uint8."""
        frames, fragments = ((batch[name].float() - self.mean) / self.std for name in self.views)
        return self.score_pixels(frames, fragments.flatten(1, 2))

    def score_pixels(self, frames: Tensor, fragments: Tensor) -> Prediction:
        """Score normalised frames and fragments, (B, T, 3, S, S) each."""
        whole, distortion = self._towers
        features = torch.cat([whole(frames), distortion(fragments)], dim=-1)
        with full_precision(features):
            outputs = self.quality(features)
        return self.predict(features, outputs)

    @property
    def _towers(self) -> tuple[SwinTower, SwinTower]:
        """Of whole frames, of fragments."""
        return self.aesthetics_feature_extraction, self.distortion_feature_extraction

    def _load(self, weights: str) -> None:
        """Fill the towers, and the head where the file has it."""
        if weights == "none":
            return
        if weights == "auto":
            net, info = load_torchvision(self.BACKBONE, weights)
            state, where = net.state_dict(), info.detail
        else:
            file = INITIAL if Path(weights).name == INITIAL.name else PUBLISHED
            path, info = file.find(weights)
            state, where = read_state(path), str(path)
        if any(key.startswith("aesthetics_feature_extraction.") for key in state):
            fill(self, state, where, "E-VQA's student", optional=("pool.",))
        else:
            # MinimalisticVQA's regressor sees motion as well; what nobody knows stays, for fill.
            swin = {
                key.removeprefix("feature_extraction."): tensor
                for key, tensor in state.items()
                if not key.startswith("quality.")
            }
            for tower in self._towers:
                fill(tower, swin, where, f"torchvision's {_SWIN}", optional=("head.",))
        for tower in self._towers:
            tower.info = info
