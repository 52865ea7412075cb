"""CLIP's towers and the numbers of the prompts' words, against open_clip."""

import open_clip
import pytest
import torch

from teachers.clip import Clip
from teachers.liqe_prompts import PROMPTS, tokens


@pytest.mark.parametrize("prompts", PROMPTS)
def test_every_prompt_has_the_numbers_of_the_full_vocabulary(prompts: str) -> None:
    expected = open_clip.get_tokenizer("ViT-B-32-quickgelu")(list(PROMPTS[prompts]))
    assert torch.equal(tokens(PROMPTS[prompts]), expected)


def test_both_towers_agree_with_the_same_random_weights() -> None:
    torch.manual_seed(0)
    theirs = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():  # norms and biases start as ones and zeros
            parameter.add_(0.02 * torch.randn_like(parameter))
    ours = Clip().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)

    images = torch.randn(3, 3, 224, 224)
    texts = tokens(PROMPTS["mix"][::60] + PROMPTS["koniq"])
    with torch.no_grad():
        pairs = [
            (ours.visual(images), theirs.encode_image(images)),
            (ours.encode_text(texts), theirs.encode_text(texts)),
        ]
    for found, expected in pairs:
        atol = 1e-4 * float(expected.std())
        torch.testing.assert_close(found, expected, rtol=0, atol=atol)
