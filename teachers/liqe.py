"""LIQE: how near an image is to 495 sentences on its quality, scene and distortion."""

from pathlib import Path

import torch
import torch.nn.functional as F
from huggingface_hub import hf_hub_url
from torch import Tensor

from distill.checks import one_of
from distill.data.views import NativePatches, TexturePatches, View
from distill.errors import ConfigError, WeightsError
from distill.model import full_precision
from distill.state_dicts import fill, read_state
from distill.weight_files import WeightFile
from distill.weights import WeightsInfo
from teachers.clip import DIM, MEAN, SIDE, STD, Clip, ImageTower
from teachers.liqe_prompts import DISTORTIONS, PROMPTS, QUALITIES, SCENES, tokens
from teachers.member import Member

# About a video of the default view. Measured on a CPU, at most 0.7 GB beside the weights (480 at a
# time: 1.7 GB).
PATCHES_AT_A_TIME = 128
_HOST = "chaofengc/IQA-PyTorch-Weights"
# The model card of the host says, too, that original licences are to be respected.
_LICENSE = (
    "MIT by the repositories of LIQE and of CLIP, which it was trained from; the Hugging Face"
    f" repository {_HOST}, which hosts liqe_mix.pt and liqe_koniq.pt, states CC-BY-NC-SA-4.0"
    " for all of its files"
)
FILES = {
    "mix": WeightFile(
        name="liqe_mix.pt",
        aliases=("LIQE.pt",),
        about=(
            "LIQE (CVPR 2023) with 495 prompts, trained on six data sets: liqe_mix.pt of the"
            f" Hugging Face repository {_HOST}, or LIQE.pt by the link to Google Drive in the"
            " README of github.com/zwx8981/LIQE"
        ),
        license=_LICENSE,
        url=hf_hub_url(_HOST, "liqe_mix.pt"),
    ),
    "koniq": WeightFile(
        name="liqe_koniq.pt",
        about=(
            "LIQE with five prompts on quality alone, trained on KonIQ-10k, of the Hugging Face"
            f" repository {_HOST}"
        ),
        license=_LICENSE,
        url=hf_hub_url(_HOST, "liqe_koniq.pt"),
    ),
}


class Liqe(Member):
    """Patches of frames in, one logit per frame and prompt out.

    A patch's logits are its cosines with the prompts, times CLIP's learned scale. A frame's are
    the means over its patches, before any softmax: RQ-VQA's feature.

    Args:
        prompts: ``mix``, 495 on quality, scene and distortion; ``koniq``, five on quality alone.
            Each has weights of its own.
        weights: ``auto`` (see :meth:`distill.weight_files.WeightFile.find`), ``none``, or the path
            of liqe_mix.pt, LIQE.pt or liqe_koniq.pt.
        view: native or texture patches of 224 pixels; None is RQ-VQA's: 15 native patches of
            one frame of each second, 8 in all.
        trainable: True trains the image tower; the prompts stay as they are.
        lr: its own peak learning rate; LIQE was trained with 5e-6.

    The file's text tower runs once, when the weights are read: its vectors of the prompts are a
    buffer, so that a bundle carries them and no text tower.

    Raises:
        ConfigError: no such prompts, or another view.
        WeightsError: no such weights, or another network's.

    Source: Zhang et al., CVPR 2023; LIQE.py of its repository, RQ-VQA's copy of that, pyiqa's
        liqe_arch.py (the names in its files, and the prompts of ``koniq``).
    Differs: LIQE.py cuts one patch 15 times, RQ-VQA's copy mixes the images of a batch; here each
        frame has its own patches. Weights and logits are float32, on a GPU too.
    """

    has_score = True
    # The middle of its scale and one step of it: nobody published statistics.
    own_scale = (3.0, 1.0)
    prompt_vectors: Tensor
    logit_scale: Tensor

    def __init__(
        self,
        prompts: str = "mix",
        weights: str = "auto",
        view: View | None = None,
        trainable: bool = False,
        lr: float | None = None,
    ) -> None:
        one_of("prompts", prompts, PROMPTS)
        view = NativePatches(sampling="second_start") if view is None else view
        if not isinstance(view, NativePatches | TexturePatches) or view.patch != SIDE:
            raise ConfigError(
                f"view: LIQE does not take {view}; give kind native_patches or texture_patches"
                f" with patch {SIDE}"
            )
        if weights == "none":
            info = WeightsInfo("none", "random initialisation", "none")
            visual = ImageTower()
            vectors = F.normalize(torch.randn(len(PROMPTS[prompts]), DIM), dim=-1)
            scale = torch.tensor(100.0).log()  # where CLIP's own ended
        else:
            path, info = _find(prompts, weights)
            visual, vectors, scale = _read(path, prompts)
        super().__init__(view, info, trainable=trainable, lr=lr)
        self.prompts = prompts
        self.feature_dim = len(vectors)
        self.visual = visual
        self.register_buffer("prompt_vectors", vectors)
        self.register_buffer("logit_scale", scale)
        self.ready(MEAN, STD)

    @property
    def title(self) -> str:
        return "LIQE"

    def extra_repr(self) -> str:
        """What the printed modules do not tell of the features."""
        return f"prompts={self.prompts!r}"

    def extract(self, view: Tensor) -> Tensor:
        """(B, T, P, 3, 224, 224) uint8 -> (B, T, K) logits, K prompts."""
        patches = view.flatten(0, 2).split(PATCHES_AT_A_TIME)
        vectors = torch.cat([self.visual(self.normalised(part)) for part in patches])
        return self.logits(vectors.unflatten(0, view.shape[:3]))

    def logits(self, vectors: Tensor) -> Tensor:
        """Logits of frames.

        Args:
            vectors: (..., P, 512) of their patches, as the image tower gives them.

        Returns:
            (..., K) float32.
        """
        with full_precision(vectors):
            # Products are linear: the mean of the cosines is the product with the mean.
            mean = F.normalize(vectors.float(), dim=-1).mean(-2)
            return self.logit_scale.exp() * (mean @ self.prompt_vectors.T)

    def own_score(self, features: Tensor) -> Tensor:
        """(B, T, K) logits -> (B,) on the scale 1..5: LIQE's score of an image, mean of frames."""
        return expected_quality(features).mean(-1)

    def checkpoint_gradients(self) -> None:
        self.visual.transformer.checkpointing = True


def expected_quality(logits: Tensor) -> Tensor:
    """LIQE's score: the mean of 1 (bad) to 5 (perfect) under :func:`quality_marginal`.

    Args:
        logits: (..., 495) or, of ``koniq``, (..., 5).

    Returns:
        (...) float32 in 1..5.
    """
    with full_precision(logits):
        levels = torch.arange(1.0, len(QUALITIES) + 1, device=logits.device)
        return quality_marginal(logits) @ levels


def quality_marginal(logits: Tensor) -> Tensor:
    """Probabilities of ``QUALITIES``: logits (..., 495) or (..., 5) -> (..., 5) float32."""
    if logits.shape[-1] == len(QUALITIES):
        return logits.float().softmax(-1)
    return _joint(logits).sum((-2, -1))


def scene_marginal(logits: Tensor) -> Tensor:
    """Probabilities of ``SCENES``: logits (..., 495) -> (..., 9) float32."""
    return _joint(logits).sum((-3, -1))


def distortion_marginal(logits: Tensor) -> Tensor:
    """Probabilities of ``DISTORTIONS``: logits (..., 495) -> (..., 11) float32."""
    return _joint(logits).sum((-3, -2))


def _joint(logits: Tensor) -> Tensor:
    shape = (len(QUALITIES), len(SCENES), len(DISTORTIONS))
    return logits.float().softmax(-1).unflatten(-1, shape)


def _find(prompts: str, weights: str) -> tuple[Path, WeightsInfo]:
    """The file; its tensors would not tell which prompts it was trained with, its name does."""
    path, info = FILES[prompts].find(weights)
    for other, file in FILES.items():
        if other != prompts and path.name in (file.name, *file.aliases):
            raise WeightsError(
                f"{path}: was trained with other prompts; set prompts={other} or give"
                f" {FILES[prompts].name}"
            )
    return path, info


def _read(path: Path, prompts: str) -> tuple[ImageTower, Tensor, Tensor]:
    """The image tower, unit vectors of the prompts, and the logarithm of the logits' scale."""
    clip, prefix = Clip(), "clip_model."  # the prefix is pyiqa's
    state = read_state(path)
    if all(key.startswith(prefix) for key in state):
        state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    fill(clip, state, str(path), "LIQE (CLIP ViT-B/32 with both towers)")
    with torch.no_grad():
        vectors = F.normalize(clip.encode_text(tokens(PROMPTS[prompts])), dim=-1)
    return clip.visual, vectors, clip.logit_scale.detach().clone()
