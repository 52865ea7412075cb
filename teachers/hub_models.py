"""Models of the Hugging Face hub or of a folder: found, told apart, and told of when missing."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, hf_hub_download, try_to_load_from_cache
from transformers import AutoConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from distill.data.identity import sha256_of
from distill.errors import ConfigError, WeightsError
from distill.model import TRUST_VARIABLE

_READ = (".safetensors", ".bin", ".json", ".jinja", ".model", ".txt", ".py")  # by from_pretrained
_HUB_SECONDS = 4.0


def find_file(model: str, revision: str | None, name: str) -> Path:
    """A small file of a model: in its folder, in the Hugging Face cache, or downloaded.

    Raises:
        WeightsError: it is not there; says what to download and where to put it.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / name).is_file():
            raise WeightsError(f"model={model}: the folder has no {name}; copy the whole model")
        return folder / name
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        raise WeightsError(f"model={model}: no such folder, and no OWNER/NAME of the hub")
    cached = try_to_load_from_cache(model, name, revision=revision)
    if isinstance(cached, str):
        return Path(cached)
    try:
        return Path(hf_hub_download(model, name, revision=revision, etag_timeout=_HUB_SECONDS))
    except (OSError, ValueError) as error:  # offline, private, gated, no such repository or file
        at = f"{model}{f' --revision {revision}' if revision else ''}"
        raise WeightsError(
            f"{name} of {model} is not in the Hugging Face cache, and the hub does not give it"
            f" ({' '.join(str(error).split())[:200]}). Where there is a network: hf download {at}"
            f" --local-dir FOLDER; then copy the folder here and set model=FOLDER"
        ) from error


def identify(model: str, revision: str | None) -> str:
    """What tells this model's files from any other's.

    Returns:
        The commit (40 hexadecimal digits) of a repository, or sha256 (64) over a folder's files.
    """
    config = find_file(model, revision, "config.json")
    if not Path(model).expanduser().is_dir():
        return config.parent.name  # .../snapshots/<commit>/config.json
    digest = hashlib.sha256()
    for path in sorted(p for p in config.parent.iterdir() if p.suffix in _READ):
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def read_config(model: str, revision: str | None, trust_remote_code: bool) -> Any:
    """The model's configuration, without its weights.

    Raises:
        ConfigError: reading it would run code of the repository, and that is not allowed.
        WeightsError: it is missing, or nothing that transformers knows.
    """
    path = find_file(model, revision, "config.json")
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        kind, code = stated.get("model_type"), stated.get("auto_map")
        if kind not in CONFIG_MAPPING_NAMES and code and not trust_remote_code:
            raise ConfigError(
                f"model={model} brings code of its own ({', '.join(map(str, code.values()))}),"
                " which would run here with your rights. Read it; if you trust it, set"
                " trust_remote_code=true and revision=COMMIT, so that it stays what you read;"
                f" to use a bundle that was made so, {TRUST_VARIABLE}=1 in the environment"
            )
        # The same commit: a cached branch may have moved on in the hub.
        commit = None if Path(model).expanduser().is_dir() else path.parent.name
        return AutoConfig.from_pretrained(
            model, revision=commit, trust_remote_code=trust_remote_code
        )
    except ConfigError:
        raise
    except Exception as error:  # remote code can raise anything
        raise WeightsError(unusable(model, "config.json", error)) from error


def read_license(model: str, revision: str | None) -> str:
    """As the model's card states it, else ``unknown``."""
    try:
        card = ModelCard.load(find_file(model, revision, "README.md"))
    except (WeightsError, OSError, ValueError):
        return "unknown"
    return str(card.data.get("license_name") or card.data.get("license") or "unknown")


def unusable(model: str, what: str, error: Exception) -> str:
    """The message for a model that transformers refuses."""
    first = " ".join(str(error).split())[:300]
    return (
        f"model={model}: {what} cannot be used: {type(error).__name__}: {first}. If files are"
        " missing, where there is a network: hf download OWNER/NAME --local-dir FOLDER; then set"
        " model=FOLDER. If its code was made for another version of transformers, run its own"
        " program and take the scores: kind: file_scores"
    )
