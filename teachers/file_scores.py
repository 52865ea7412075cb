"""Another system's scores, read from a file, as a member of a teacher."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill.data.views.table_scores import TableScores
from distill.weights import WeightsInfo
from teachers.member import Member


class FileScores(Member):
    """Scores that another program wrote into a table: no network, no frame decoded.

    For what cannot run here: a system with an environment of its own, a closed one, people. ::

        members:
          rq_vqa: {kind: file_scores, table: RQ_VQA_results.csv, head: own}

    Features are the columns, each in standard deviations from its mean over the table, and
    without a LayerNorm of the teacher, which would take the scale away. Mean and deviation are
    buffers and travel with a bundle; the table does not: a bundle names its path, and what
    lies there has to hold every video that is to be scored. Rows may be added to it.

    Args:
        table, columns, name: see :class:`~distill.data.views.table_scores.TableScores`. The
            first column is the score, higher is better.
        license: of the scores, for the bundles of what learns from them.

    Raises:
        ConfigError: the table cannot be used.
    """

    layer_norm = False
    has_score = True

    center: Tensor
    width: Tensor

    def __init__(
        self,
        table: str,
        columns: Sequence[str] = ("score",),
        name: str = "filename",
        license: str = "unknown",
    ) -> None:
        view = TableScores(str(table), columns, name)  # type: ignore[arg-type]  # it makes a tuple
        detail = f"scores of {view.table.rpartition('/')[2]}, sha256 {view.sha256}"
        # Not frozen, though nothing in it trains: features of frozen members are cached by a
        # video's content, and these are of its name.
        super().__init__(view, WeightsInfo("file", detail, license), trainable=True)
        mean, std = view.statistics()
        self.register_buffer("center", torch.from_numpy(mean))
        self.register_buffer("width", torch.from_numpy(std).where(torch.from_numpy(std) > 0, 1.0))
        self.feature_dim = len(view.columns)
        self._set_scale()
        self.ready()

    def _set_scale(self) -> None:
        self.own_scale = (float(self.center[0]), float(self.width[0]))

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *rest: Any, **options: Any
    ) -> None:
        # The table may have grown since the bundle was made: its scale stays.
        super()._load_from_state_dict(state_dict, prefix, *rest, **options)
        self._set_scale()

    def extract(self, view: Tensor) -> Tensor:
        """Columns of every video.

        Args:
            view: (B, 1, 8 * C) uint8, the bytes of float64.

        Returns:
            (B, 1, C) float32, standardised.
        """
        # By way of numpy: what counts the cost traces, and tracing knows no view of another dtype.
        numbers = torch.from_numpy(view.cpu().contiguous().numpy().view(np.float64))
        numbers = numbers.to(view.device)
        return ((numbers - self.center) / self.width).float()

    def own_score(self, features: Tensor) -> Tensor:
        """The score as the file has it, up to float32."""
        return (features.mean(1)[:, 0] * self.width[0] + self.center[0]).float()
