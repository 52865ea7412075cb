"""Files of weights that somebody publishes: found, downloaded, checked; told of when missing."""

import os
import urllib.error
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import constants

from distill.cache import cache_folder
from distill.data.identity import sha256_of
from distill.errors import MissingWeightsError, WeightsError
from distill.state_dicts import SUFFIXES
from distill.weights import FOLDER_VARIABLE, WeightsInfo, why_unreachable


@dataclass(frozen=True)
class WeightFile:
    """A published checkpoint.

    Attributes:
        name: of the file, as published.
        about: what it is and where a person finds it, for messages.
        license: as its source states it.
        url: direct download; empty where there is none.
        aliases: other names that the same file goes by.
        sha256: its checksum, or a beginning of it; empty where nobody published one.
    """

    name: str
    about: str
    license: str
    url: str = ""
    aliases: tuple[str, ...] = ()
    sha256: str = ""

    def find(self, weights: str = "auto") -> tuple[Path, WeightsInfo]:
        """Where the file is; downloaded at need.

        Args:
            weights: ``auto`` looks into the folder that ``DISTILL_WEIGHTS`` names, then into the
                cache, then downloads; else the path of a file.

        Raises:
            WeightsError: it is not there, or is another file; says what to put where.
        """
        if weights == "auto":
            path, source = self._locate()
        else:
            path, source = Path(weights).expanduser(), "file"
            if not path.is_file():
                raise WeightsError(
                    f"weights={weights}: no such file; give auto, none or the path of"
                    f" {self.name} ({self.about})"
                )
        digest = sha256_of(path)
        known = path.name in (self.name, *self.aliases)
        if known and not digest.startswith(self.sha256):
            raise WeightsError(
                f"{path}: sha256 is {digest}, expected {self.sha256}; get {self.name} again"
                f" ({self.about})"
            )
        license_ = self.license if known else "unknown"
        return path, WeightsInfo(source, f"{path.name}, sha256 {digest}", license_)

    def why_missing(self) -> str:
        """Why ``find`` would not find the file, "" where it would; nothing is downloaded."""
        try:
            self._locate(download=False)
        except MissingWeightsError as error:
            return str(error)
        return ""

    def _locate(self, download: bool = True) -> tuple[Path, str]:
        """Its path, where it is or would be downloaded to, and the source."""
        kept = cache_folder() / "weights"
        named = os.environ.get(FOLDER_VARIABLE)
        for folder, source in ((named, "file"), (kept, "cache")):
            for name in (self.name, *self.aliases) if folder else ():
                if (path := Path(str(folder)) / name).is_file():
                    return path, source
        reasons = [f"{FOLDER_VARIABLE}={named} does not have it" if named else ""]
        if not self.url:
            reasons.append("it has no address to download it from")
        elif constants.HF_HUB_OFFLINE:
            reasons.append("HF_HUB_OFFLINE is set")
        elif not download:
            if not (unreachable := why_unreachable(self.url)):
                return kept / self.name, "hub"
            reasons.append(unreachable)
        else:
            kept.mkdir(parents=True, exist_ok=True)
            try:
                torch.hub.download_url_to_file(self.url, str(kept / self.name), self.sha256 or None)
                return kept / self.name, "hub"
            except (OSError, RuntimeError, urllib.error.URLError) as error:
                reasons.append(f"{self.url} could not be downloaded: {error}")
        raise MissingWeightsError(
            f"{self.name} is missing ({'; '.join(filter(None, reasons))}). It is {self.about}."
            f" Put the file into a folder and set {FOLDER_VARIABLE}=<folder>, or pass its path as"
            f" weights ({', '.join(SUFFIXES)})"
        )
