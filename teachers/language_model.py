"""Vision-language models of the Hugging Face hub: found, told apart, loaded, asked.

They never belong to a network's modules: gigabytes stay out of state dicts, checkpoints and
bundles, which refer to them by commit or hash.
"""

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, hf_hub_download, try_to_load_from_cache
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from distill.errors import ConfigError, WeightsError
from distill.model import full_precision

log = logging.getLogger(__name__)

DTYPES = {"auto": "auto", "bfloat16": torch.bfloat16, "float32": torch.float32}
_READ = (".safetensors", ".bin", ".json", ".jinja", ".model", ".txt", ".py")  # by from_pretrained
_AT_ONCE = 8  # frames in one pass through the language model
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
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name} {content}\n".encode())
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
                " trust_remote_code=true and revision=COMMIT, so that it stays what you read"
            )
        # The same commit: a cached branch may have moved on in the hub.
        commit = None if Path(model).expanduser().is_dir() else path.parent.name
        return AutoConfig.from_pretrained(
            model, revision=commit, trust_remote_code=trust_remote_code
        )
    except ConfigError:
        raise
    except Exception as error:  # remote code can raise anything
        raise WeightsError(_unusable(model, "config.json", error)) from error


def read_license(model: str, revision: str | None) -> str:
    """As the model's card states it, else ``unknown``."""
    try:
        card = ModelCard.load(find_file(model, revision, "README.md"))
    except (WeightsError, OSError, ValueError):
        return "unknown"
    return str(card.data.get("license_name") or card.data.get("license") or "unknown")


class LanguageModel:
    """A loaded model and one question to it.

    Args:
        model: hub id or folder.
        revision: commit of a hub id.
        question, answer: what the user asks of an image, and how the answer begins.
        levels: words that may follow.
        dtype: one of ``DTYPES``; ``auto`` is the checkpoint's.
        trust_remote_code: run code of the repository.
        device: where it runs.

    Raises:
        WeightsError: the model cannot be loaded, or its weights do not fill it.
        ConfigError: its tokenizer cannot tell the levels apart.
    """

    def __init__(
        self,
        model: str,
        revision: str | None,
        *,
        question: str,
        answer: str,
        levels: Sequence[str],
        dtype: str,
        trust_remote_code: bool,
        device: torch.device,
    ) -> None:
        options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        try:
            self.processor = AutoProcessor.from_pretrained(model, **options)
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                model, dtype=DTYPES[dtype], output_loading_info=True, **options
            )
            network, told = loaded
        except Exception as error:  # remote code can raise anything
            raise WeightsError(_unusable(model, "weights or processor", error)) from error
        unfilled = [str(key) for kind in ("missing_keys", "mismatched_keys") for key in told[kind]]
        if unfilled:
            some = ", ".join(sorted(unfilled)[:4])
            raise WeightsError(f"model={model}: {len(unfilled)} weights are missing, as {some}")
        self.network: Any = network.to(device).eval().requires_grad_(False)
        self.name, self.device = model, device
        self.levels = level_tokens(self.processor.tokenizer, answer, levels)
        self.prompt = _prompt(self.processor, question, answer)
        self._counted = False

    def __call__(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Ask the question of every frame, of each by itself.

        Args:
            frames: (F, 3, H, W) uint8 RGB.

        Returns:
            The last layer's hidden states, normed, averaged over all tokens of prompt and image,
            (F, D), and the levels' probabilities at the prompt's end, (F, K); float32.
        """
        parts = [self._ask(part) for part in frames.split(_AT_ONCE)]
        return torch.cat([hidden for hidden, _ in parts]), torch.cat([p for _, p in parts])

    def _ask(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        images = list(frames.permute(0, 2, 3, 1).cpu().numpy())  # what every processor takes
        # Frames of one size and one prompt: nothing is padded, and ragged ones are an error here.
        inputs = self.processor(
            images=images, text=[self.prompt] * len(images), return_tensors="pt"
        )
        inputs = inputs.to(self.device, dtype=self.network.dtype)
        kept: list[Tensor] = []
        body: nn.Module = self.network.base_model
        hook = body.register_forward_hook(lambda module, given, out: kept.append(out[0]))
        counter = None if self._counted else FlopCounterMode(display=False)
        try:
            with torch.no_grad(), full_precision(frames), counter or nullcontext():
                logits = self.network(**inputs, use_cache=False, logits_to_keep=1).logits
        finally:
            hook.remove()
        if counter:
            self._counted = True
            gmacs = counter.get_total_flops() / 2e9 / len(images)
            log.info("%s: %.4g GMACs a frame (torch's counter, halved)", self.name, gmacs)
        probabilities = logits[:, -1].float()[:, self.levels].softmax(-1)
        return kept[0].float().mean(1), probabilities


def level_tokens(tokenizer: Any, answer: str, levels: Sequence[str]) -> list[int]:
    """The token with which each level goes on after the answer's beginning.

    A level of several tokens is known by its first.

    Raises:
        ConfigError: a level has no token of its own there, or two have the same.
    """
    start: list[int] = tokenizer(answer, add_special_tokens=False).input_ids
    owner: dict[int, str] = {}
    for level in levels:
        ids = tokenizer(f"{answer} {level}", add_special_tokens=False).input_ids
        if (
            ids[: len(start)] != start
            or len(ids) == len(start)
            or (ids[len(start)] == tokenizer.unk_token_id)
        ):
            raise ConfigError(f"levels: the tokenizer has no token for {level!r} after {answer!r}")
        other = owner.setdefault(ids[len(start)], level)
        if other != level:
            raise ConfigError(f"levels: {other!r} and {level!r} begin with the same token")
    return list(owner)


def _prompt(processor: Any, question: str, answer: str) -> str:
    """Question, image and the answer's beginning, in the model's own chat format."""
    if getattr(processor, "chat_template", None):
        content = [{"type": "image"}, {"type": "text", "text": question}]
        messages = [{"role": "user", "content": content}]
        text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    else:  # Q-Align's
        text = f"USER: {question}\n{processor.image_token}\nASSISTANT:"
    return f"{text} {answer}" if text.endswith(":") else f"{text}{answer}"


def _unusable(model: str, what: str, error: Exception) -> str:
    first = " ".join(str(error).split())[:300]
    return (
        f"model={model}: {what} cannot be used: {type(error).__name__}: {first}. If files are"
        f" missing, where there is a network: hf download {model} --local-dir FOLDER; then set"
        " model=FOLDER. If its code was made for another version of transformers, run its own"
        " program and take the scores: kind: file_scores"
    )
