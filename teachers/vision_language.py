"""A vision-language model that is asked for the quality of every frame.

It never belongs to a network's modules: gigabytes stay out of state dicts, checkpoints and
bundles, which refer to it by commit or hash.
"""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForImageTextToText, AutoProcessor

from distill.checks import one_of
from distill.data.views import KeyFrames, View
from distill.errors import ConfigError, WeightsError
from distill.model import full_precision
from distill.weights import WeightsInfo
from teachers.hub_models import identify, read_config, read_license, unusable
from teachers.member import Member

log = logging.getLogger(__name__)

LEVELS = ("excellent", "good", "fair", "poor", "bad")
DTYPES = {"auto": "auto", "bfloat16": torch.bfloat16, "float32": torch.float32}
_AT_ONCE = 8  # frames in one pass through the language model
_IDENTITY = 64  # hexadecimal digits of a sha256; a commit has 40


class VisionLanguage(Member):
    """Level probabilities and hidden states of any image-text-to-text model, frame by frame.

    The score is the mean of K..1 under a softmax over the tokens of K words at the end of the
    prompt. Features are the last layer's hidden states, averaged over all tokens.

    The language model is no part of state dicts and bundles, and never trains. They hold its
    commit or its folder's hash, by which it is loaded at its first frame; other files are refused.

    Args:
        model: id on the Hugging Face hub or a folder, of a model that transformers'
            ``AutoModelForImageTextToText`` and ``AutoProcessor`` load.
        revision: of the id: branch, tag or commit; None is ``main``, the cached one first.
        question, answer: what is asked of each frame, and how the answer begins.
        levels: words from best to worst, K >= 2.
        dtype: of the language model: ``auto`` (the checkpoint's), ``bfloat16`` or ``float32``.
        trust_remote_code: run code that the model's repository brings.
        view: frames; None: 8 of 448, padded to squares.
        weights: ``none`` builds it without a commit or hash, for a state dict that follows.

    Source: Q-Align (Wu et al., ICML 2024): question, answer, levels, weights 5..1 and padding;
        DeQA-Score (You et al., CVPR 2025) reads scores alike. Q-ReAlign's README: the prompt in
        the model's chat format, and a level's token with the space before it. RQ-VQA (NTIRE 2024)
        fuses the mean hidden state of Q-Align.
    Differs: each frame is asked by itself, where Q-Align puts all frames of a video into one
        prompt; RQ-VQA cuts frames into an upper and a lower half. Prompt tokens are in our mean.

    Raises:
        ConfigError: an option is nonsense, or the model needs code that is not trusted.
        WeightsError: the model is not there; says how to get it.
    """

    has_score = True
    reference: Tensor

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        question: str = "How would you rate the quality of this image?",
        answer: str = "The quality of the image is",
        levels: Sequence[str] = LEVELS,
        dtype: str = "auto",
        trust_remote_code: bool = False,
        view: View | None = None,
        weights: str = "auto",
    ) -> None:
        one_of("dtype", dtype, DTYPES)
        one_of("weights", weights, ("auto", "none"))
        if len(levels) < 2 or isinstance(levels, str):
            raise ConfigError(f"levels: {levels!r}; give two or more words, the best first")
        config = read_config(model, revision, trust_remote_code)
        identity = "" if weights == "none" else identify(model, revision)
        folder = Path(model).expanduser().is_dir()
        label = Path(model).name if folder else model
        source = "none" if not identity else "file" if folder else "hub"
        license_ = read_license(model, identity or revision)
        super().__init__(
            view or KeyFrames(num_frames=8, size=448, fit="pad"),
            WeightsInfo(source, f"{label} {identity}".strip(), license_),
        )
        self.model, self._label = model, label
        self.question, self.answer, self.levels = question, answer.rstrip(), list(levels)
        self.dtype, self.trust_remote_code = dtype, trust_remote_code
        self.feature_dim = config.get_text_config().hidden_size
        self.own_dim = len(self.levels)
        reference = torch.zeros(_IDENTITY, dtype=torch.uint8)
        reference[: len(identity)] = torch.tensor(list(identity.encode()), dtype=torch.uint8)
        self.register_buffer("reference", reference)
        self._loaded = _Outside()
        self.ready()

    @property
    def identity(self) -> str:
        """Commit or hash of the language model; empty while it is not known."""
        return bytes(self.reference.tolist()).rstrip(b"\0").decode()

    @property
    def title(self) -> str:
        return self._label

    def extra_repr(self) -> str:
        """All that its features depend on, but for the view and the device."""
        return (
            f"model={self._label!r}, identity={self.identity!r}, question={self.question!r},"
            f" answer={self.answer!r}, levels={self.levels}, dtype={self.dtype!r},"
            f" transformers={version('transformers')}"
        )

    def extract(self, view: Tensor) -> Tensor:
        """Ask of every frame.

        Args:
            view: (B, T, 3, H, W) or (B, N, T, 3, H, W) uint8 RGB.

        Returns:
            (B, T, D + K) float32: mean hidden state, then probabilities of the levels; N * T in
            the place of T for clips.
        """
        frames = view.reshape(-1, *view.shape[-3:])
        dim = self.feature_dim + self.own_dim
        if torch.jit.is_tracing():
            # The cost is counted before anything is downloaded or read, and by tracing, which
            # transformers' models do not bear.
            log.warning(
                "%s: its GMACs are not counted yet; the first frame shows them", self._label
            )
            out = torch.zeros(len(frames), dim, device=view.device)
        else:
            out = torch.cat(self._language_model(view.device)(frames), -1)
        return out.reshape(view.shape[0], -1, dim)

    def own_score(self, features: Tensor) -> Tensor:
        """Mean of K for the best level down to 1 for the worst, over the frames."""
        worth = torch.arange(self.own_dim, 0, -1, device=features.device)
        return (features[..., self.feature_dim :].float() * worth).sum(-1).mean(1)

    def _language_model(self, device: torch.device) -> "LanguageModel":
        loaded, wanted = self._loaded.model, (device, self.identity)
        if loaded is not None and self._loaded.made_for == wanted:
            return loaded
        self._loaded.model = None  # frees its memory before the next is read
        revision: str | None = self.identity
        if Path(self.model).expanduser().is_dir():
            revision, found = None, identify(self.model, None)
            if found != self.identity:
                raise WeightsError(
                    f"model={self.model}: its files have the hash {found}, and this member was"
                    f" made with {self.identity}; put those files there, or train again"
                )
        log.info("loading %s %s", self._label, self.identity)
        self._loaded.model = LanguageModel(
            self.model, revision, question=self.question, answer=self.answer, levels=self.levels,
            dtype=self.dtype, trust_remote_code=self.trust_remote_code, device=device,
        )  # fmt: skip
        self._loaded.made_for = wanted
        return self._loaded.model


class _Outside:
    """Holds the language model where neither state dicts nor copies of the member reach it."""

    model: "LanguageModel | None" = None
    made_for: tuple[torch.device, str] | None = None

    def __deepcopy__(self, memo: object) -> Self:
        return self


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
            raise WeightsError(unusable(model, "weights or processor", error)) from error
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
        new = ids[len(start) :]
        if ids[: len(start)] != start or not new or new[0] == tokenizer.unk_token_id:
            raise ConfigError(f"levels: the tokenizer has no token for {level!r} after {answer!r}")
        other = owner.setdefault(new[0], level)
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
