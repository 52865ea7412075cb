"""Tiny vision-language models with random weights, written as their published kin are."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

WORDS = (
    "USER ASSISTANT : How would you rate the quality of this image ? The is sharp"
    " excellent good fair poor bad"
).split()
CHAT = (
    "{% for m in messages %}USER: {% for c in m['content'] %}{% if c['type'] == 'image' %}"
    "IMAGE {% else %}{{ c['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def _words(special: list[str]) -> PreTrainedTokenizerFast:
    """A token for each word."""
    words = ["<unk>", "<pad>", *special, *WORDS]
    table = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(table, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return _wrapped(tokenizer, special)


def _bytes(special: list[str]) -> PreTrainedTokenizerFast:
    """Byte pairs, as transformers insists on for Qwen3.5: a token holds the space before it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<unk>", "<pad>", *special], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator([" ".join(["", *WORDS])] * 3, trainer)
    return _wrapped(tokenizer, special)


def _wrapped(tokenizer: Tokenizer, special: list[str]) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>",
        additional_special_tokens=special,
    )  # fmt: skip


def save_llava(folder: Path, seed: int = 0, chat: bool = True) -> Path:
    """CLIP of 28 pixels in patches of 14, and two layers of 32 columns."""
    torch.manual_seed(seed)
    tokenizer = _words(["<image>"])
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        image_size=28, patch_size=14,
    )  # fmt: skip
    text = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=len(tokenizer), tie_word_embeddings=False,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, vision_feature_layer=-1,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():  # far from uniform answers
        model.lm_head.weight.mul_(50)
    model.save_pretrained(folder)
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer, patch_size=14, vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT.replace("IMAGE", "<image>") if chat else None,
    )  # fmt: skip
    processor.save_pretrained(folder)
    return folder


def save_qwen(folder: Path, seed: int = 0) -> Path:
    """Qwen3.5, as Q-ReAlign is: linear and full attention in turn, patches of 16 merged by four."""
    torch.manual_seed(seed)
    special = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    tokenizer = _bytes(special)
    image, video, start, end = (tokenizer.convert_tokens_to_ids(word) for word in special)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    config = Qwen3_5Config(
        text_config={
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "head_dim": 16,
            "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 640,
            "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2,
            "linear_num_value_heads": 2, "rope_parameters": {**rope, "partial_rotary_factor": 0.5},
        },
        vision_config={
            "depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2,
            "out_hidden_size": 32, "num_position_embeddings": 16,
        },
        image_token_id=image, video_token_id=video, vision_start_token_id=start,
        vision_end_token_id=end,
    )  # fmt: skip
    Qwen3_5ForConditionalGeneration(config).save_pretrained(folder)
    chat = CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    sizes = {"shortest_edge": 32 * 32, "longest_edge": 64 * 64}
    Qwen3VLProcessor(
        Qwen2VLImageProcessor(patch_size=16, size=sizes), tokenizer, Qwen3VLVideoProcessor(),
        chat_template=chat,
    ).save_pretrained(folder)  # fmt: skip
    return folder
