"""FAST-VQA, FasterVQA and DOVER's technical branch: video quality from clips of fragments."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.checks import one_of
from distill.data.views import Fragments, View
from distill.errors import ConfigError, WeightsError
from distill.model import full_precision
from distill.state_dicts import fill, read_state
from distill.weight_files import WeightFile
from distill.weights import WeightsInfo
from teachers.member import Member
from teachers.video_swin import VideoSwin

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_PATCH = 32  # pixels; the gate takes 32 pixels for a fragment, whatever the view says
_CLIPS = 8  # at once, so that memory does not grow with the batch where nothing trains

_RELEASES = "https://github.com/TimothyHTimothy/FAST-VQA/releases/download/v2.0.0/"
_LICENSE = "MIT by the LICENSE file of FAST-VQA (its setup.py says Apache-2.0)"
_DOVER_LICENSE = "S-Lab License 1.0, non-commercial"
_DOVER_URL = "https://github.com/QualityAssessment/DOVER/releases/download/v0.1.0/DOVER.pth"


def _released(name: str, title: str) -> WeightFile:
    """A file of FAST-VQA's release; its configurations call it by a name with an asterisk."""
    url = f"{_RELEASES}{name}.pth"
    stem, _, clips = name.rpartition("_")
    about = f"{title} trained on LSVQ, {url}"
    return WeightFile(f"{name}.pth", about, _LICENSE, url, (f"{stem}*{clips}.pth",))


@dataclass(frozen=True)
class _Variant:
    title: str
    file: WeightFile
    view: Fragments
    own_scale: tuple[float, float]  # of its scores of KoNViD-1k
    gated: bool = True


# Sources: options/fast/{fast-b,fast-m,f3dvqa-b}.yml, vqa.py (``mean_stds``) and the table of
# releases in README.md, all of FAST-VQA-and-FasterVQA; DOVER: dover.yml, evaluate_one_video.py.
_VARIANTS = {
    "fast_vqa_b": _Variant(
        "FAST-VQA-B",
        _released("FAST_VQA_B_1_4", "FAST-VQA-B"),
        Fragments(train_clips=1),
        (-0.110198185, 0.04178565),
    ),
    "fast_vqa_m": _Variant(
        "FAST-VQA-M",
        _released("FAST_VQA_M_1_4", "FAST-VQA-M"),
        Fragments(grid=4, clip_len=16, aligned=8, train_clips=1),
        (0.023889644, 0.030781006),
        gated=False,
    ),
    "faster_vqa": _Variant(
        "FasterVQA",
        _released("FAST_VQA_3D_1_1", "FasterVQA"),
        Fragments(num_clips=1, t_frag=8, aligned=8),
        (0.14759505, 0.03613452),
    ),
    "dover_technical": _Variant(
        "DOVER's technical branch",
        WeightFile("DOVER.pth", f"DOVER, {_DOVER_URL}", _DOVER_LICENSE, _DOVER_URL),
        Fragments(num_clips=3, train_clips=1),
        (0.1107, 0.07355),
    ),
}
# DOVER, and FAST-VQA's release 1 or Video Swin as published for Kinetics-400.
_PREFIXES = (
    ("technical_backbone.", "fragments_backbone."),
    ("technical_head.", "vqa_head."),
    ("backbone.", "fragments_backbone."),
    ("cls_head.", "vqa_head."),
)
_KINETICS_LICENSE = "Apache-2.0 by the LICENSE file of Video-Swin-Transformer"


class VQAHead(nn.Module):
    """A quality for every place of a map.

    Source: FAST-VQA, head.py: ``VQAHead``.
    """

    def __init__(self, dim: int = 768) -> None:
        super().__init__()
        self.fc_hid, self.fc_last = nn.Conv3d(dim, 64, 1), nn.Conv3d(64, 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, 768, T, H, W) -> (B, 1, T, H, W)."""
        drop = partial(F.dropout, p=0.5, training=self.training)
        return self.fc_last(drop(F.gelu(self.fc_hid(drop(maps)))))


class FastVQA(Member):
    """Features of every clip and the published score: FAST-VQA and its kin.

    Args:
        variant: ``fast_vqa_b``, ``fast_vqa_m``, ``faster_vqa`` or ``dover_technical``: which
            published network. FasterVQA is FAST-VQA-B's on one clip of temporal fragments.
        weights: ``auto`` looks for the published file (see
            :class:`~distill.weight_files.WeightFile`), ``none``, or a path. Besides the published
            file that may be one from scratch (``..._Scr.pth``), FAST-VQA's release 1.0 of B
            (``fast_vqa_v0_3.pth``), or Video Swin-T of Kinetics-400
            (``swin_tiny_patch244_window877_kinetics400_1k.pth``), with which FAST-VQA's training
            starts and which brings no score.
        view: None is the published one. Others are ``Fragments`` with patches of 32 pixels, fewer
            of them or fewer frames.
        trainable: False keeps it in evaluation mode and computes no gradient.
        lr: its own peak learning rate; None takes the training's.

    Attributes:
        own_scale: mean and standard deviation of its scores on KoNViD-1k, as published.

    Raises:
        ConfigError: unknown variant, or a view that it cannot take.
        WeightsError: no such weights, or they are of another network.

    Source: FAST-VQA (Wu et al., ECCV 2022), FasterVQA (2022), DOVER (ICCV 2023).
    Differs: DOVER's branch shrinks its windows on clips of fewer fragments, as FAST-VQA's does;
        DOVER has no other clips than the published one.
    """

    feature_dim = 768
    own_dim = 1

    def __init__(
        self,
        variant: str = "fast_vqa_b",
        weights: str = "auto",
        view: View | None = None,
        trainable: bool = False,
        lr: float | None = None,
    ) -> None:
        one_of("variant", variant, _VARIANTS)
        chosen = _VARIANTS[variant]
        path, info = None, WeightsInfo("none", "random initialisation", "none")
        if weights != "none":
            path, info = chosen.file.find(weights)
        super().__init__(view or chosen.view, info, trainable=trainable, lr=lr)
        self.variant, self._title = variant, chosen.title
        self.own_scale, self.has_score = chosen.own_scale, True
        self.fragments_backbone = (
            VideoSwin() if chosen.gated else VideoSwin((4, 4, 4), gated=(False,) * 4)
        )
        self.vqa_head = VQAHead(self.feature_dim)
        # So that an untrained head's scores lie where own_scale expects them.
        assert self.vqa_head.fc_last.bias is not None
        nn.init.constant_(self.vqa_head.fc_last.bias, self.own_scale[0])
        self._check_view()
        if path is not None:
            self._load(read_state(path), str(path))
        self.ready(_MEAN, _STD)

    @property
    def title(self) -> str:
        return self._title

    def extra_repr(self) -> str:
        """What the printed modules do not tell of the features."""
        return f"variant={self.variant!r}"

    def extract(self, view: Tensor) -> Tensor:
        """Features of every clip, then the mean of its quality map.

        Args:
            view: (B, N, T, 3, H, W) uint8 RGB.

        Returns:
            (B, N, 768 + 1) float32.
        """
        columns = [self._columns(clips) for clips in view.flatten(0, 1).split(_CLIPS)]
        return torch.cat(columns).unflatten(0, view.shape[:2])

    def own_score(self, features: Tensor) -> Tensor:
        return features[..., -1].float().mean(1)

    def checkpoint_gradients(self) -> None:
        self.fragments_backbone.checkpointing = True

    def _columns(self, clips: Tensor) -> Tensor:
        """(n, T, 3, H, W) uint8 -> (n, 768 + 1)."""
        maps = self.fragments_backbone(self.normalised(clips).transpose(1, 2))
        with full_precision(maps):
            maps = maps.float().movedim(-1, 1)
            quality = self.vqa_head(maps).flatten(1)
            return torch.cat([maps.mean((2, 3, 4)), quality.mean(1, keepdim=True)], dim=-1)

    def _check_view(self) -> None:
        view = self.view
        if not isinstance(view, Fragments) or view.patch != _PATCH:
            raise ConfigError(
                f"view: {self.title} takes fragments with patch={_PATCH}, not {view}; leave view"
                " out for the published one"
            )
        try:
            self.fragments_backbone.window_for((view.clip_len, view.side, view.side))
        except ValueError as error:
            raise ConfigError(f"view: {self.title} cannot take {error}") from error

    def _load(self, state: Mapping[str, Tensor], where: str) -> None:
        """Fill from a published file, whichever of its layouts it has."""
        dover = any(key.startswith("technical_backbone.") for key in state)
        if dover and self.variant != "dover_technical":
            raise WeightsError(
                f"{where}: is DOVER, not {self.title}; give variant=dover_technical for its"
                " technical branch"
            )
        if dover:
            state = {k: v for k, v in state.items() if not k.startswith("aesthetic_")}
            self.info = replace(self.info, license=_DOVER_LICENSE)  # under whatever name
        state = {_renamed(key): tensor for key, tensor in state.items()}
        optional: list[str] = []
        if "vqa_head.fc_cls.weight" in state:
            # As FAST-VQA starts from it: fragment tables stay zero, M's smaller tables random.
            self.has_score = self.trainable
            self._title += " with Kinetics-400 weights"
            detail = f"{self.info.detail} (Kinetics-400: no score)"
            self.info = replace(self.info, detail=detail, license=_KINETICS_LICENSE)
            new = ".fragment_position" if _VARIANTS[self.variant].gated else ".relative_position"
            optional = ["vqa_head.", *(key for key in self.state_dict() if new in key)]
        fill(self, state, where, self.title, tuple(optional))


def _renamed(key: str) -> str:
    """A published layout's key as FAST-VQA's release 2 has it."""
    for theirs, ours in _PREFIXES:
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key
