"""Features of frozen networks on disk: one small safetensors file per network and video."""

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from distill.errors import CacheError

_TENSOR = "features"


class FeatureStore:
    """Cached features, found by what they were computed from and by nothing else.

    A file lies at ``<fingerprint>/<content>.safetensors`` and repeats both in its header, beside a
    hash of its values: what was moved, torn or flipped is never used.

    Args:
        folder: of all cached features; one store's members are part of it.
        fingerprints: batch key of a member's features -> hash of all that determines them but
            the video (:func:`distill.features.fingerprint`). Equal ones share their files.
    """

    def __init__(self, folder: Path, fingerprints: Mapping[str, str]) -> None:
        self.folder, self.fingerprints = Path(folder), dict(fingerprints)

    def load(self, content: str) -> dict[str, Tensor] | None:
        """Features of one video.

        Args:
            content: the video's content hash.

        Returns:
            Batch key -> (T, D) float32; None where a member's are missing or damaged.
        """
        found = {}
        for key, fingerprint in self.fingerprints.items():
            features = self._load(fingerprint, content)
            if features is None:
                return None
            found[key] = features
        return found

    def save(self, content: str, features: Mapping[str, Tensor]) -> None:
        """Keep the features of one video: each file is written whole or not at all.

        Args:
            content: the video's content hash.
            features: batch key -> (T, D) float32, for every member.

        Raises:
            CacheError: the folder cannot be written to.
        """
        for key, fingerprint in self.fingerprints.items():
            values = features[key].detach().cpu().contiguous()
            header = _header(fingerprint, content, values)
            path = self._path(fingerprint, content)
            part = path.with_name(f".{path.name}.{os.getpid()}")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                part.write_bytes(save({_TENSOR: values}, metadata=header))
                os.replace(part, path)
            except OSError as error:
                with suppress(OSError):
                    part.unlink()
                raise CacheError(
                    f"{path.parent}: cached features cannot be written ({error.strerror}); free"
                    " some space, choose training.feature_cache=FOLDER, or turn it off with =none"
                ) from error

    def _path(self, fingerprint: str, content: str) -> Path:
        return self.folder / fingerprint / content[:2] / f"{content}.safetensors"

    def _load(self, fingerprint: str, content: str) -> Tensor | None:
        try:
            with safe_open(self._path(fingerprint, content), framework="pt") as file:
                header, values = file.metadata(), file.get_tensor(_TENSOR)
        except (OSError, SafetensorError):
            return None
        return values if header == _header(fingerprint, content, values) else None


def _header(fingerprint: str, content: str, values: Tensor) -> dict[str, str]:
    flat = values.flatten().view(torch.uint8).numpy()
    told = hashlib.blake2b(flat.tobytes(), digest_size=16).hexdigest()
    shape = "x".join(map(str, values.shape))
    return {"fingerprint": fingerprint, "content": content, "values": told, "shape": shape}
