"""Check the published weights: which are on this machine, and whether they load.

    python -m teachers                 load what is here and run it on a fixed input
    python -m teachers --download      first fetch what can be fetched
    python -m teachers fast_vqa_b liqe only these; it is an error if one is missing

Weights are loaded strictly: every tensor of the file has a place, and every place a tensor. The
file's checksum is printed, and the score of one input that numpy makes from the seed 2026: run the
same input through the published code to see whether both compute the same. Exit code 0: all that is
here works; 1: a file is here and does not work, or a named one is missing.
"""

import os
import sys
from typing import Any

from distill.flags import Parser

_STILL = {"kind": "key_frames", "num_frames": 1, "size": 384, "short_side": 384}
# name -> options of the member, on an input of one frame, clip or chunk
NETWORKS: dict[str, dict[str, Any]] = {
    "swin_b": {"kind": "swin_b", "view": _STILL},
    "swin_b_torchvision": {"kind": "swin_b", "backbone": "torchvision/swin_b", "view": _STILL},
    "slowfast": {"kind": "slowfast", "view": {"kind": "motion_chunks", "num_chunks": 1}},
    "fast_vqa_b": {"kind": "fast_vqa", "view": {"kind": "fragments", "num_clips": 1}},
    "fast_vqa_m": {
        "kind": "fast_vqa",
        "variant": "fast_vqa_m",
        "view": {"kind": "fragments", "grid": 4, "clip_len": 16, "aligned": 8, "num_clips": 1},
    },
    "faster_vqa": {"kind": "fast_vqa", "variant": "faster_vqa"},
    "dover_technical": {
        "kind": "fast_vqa",
        "variant": "dover_technical",
        "view": {"kind": "fragments", "num_clips": 1},
    },
    "liqe": {"kind": "liqe", "view": {"kind": "native_patches", "num_frames": 1}},
    "liqe_koniq": {
        "kind": "liqe",
        "prompts": "koniq",
        "view": {"kind": "native_patches", "num_frames": 1},
    },
}
SEED = 2026
_missing: list[str] = []


def main(words: list[str] | None = None) -> int:
    """Print one line per network; see the module's text."""
    parser = Parser(prog="python -m teachers", description=__doc__)
    text = f"default: all of {', '.join(NETWORKS)}"
    parser.add_argument("names", nargs="*", metavar="NAME", help=text)
    parser.add_argument("--download", action="store_true", help="fetch what is missing")
    options = parser.parse_args(words)
    unknown = [name for name in options.names if name not in NETWORKS]
    if unknown:
        parser.error(f"{', '.join(unknown)}: no such network; known are {', '.join(NETWORKS)}")
    if not options.download:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the hub's client is imported
    failed = [name for name in options.names or NETWORKS if not _tell(name, bool(options.names))]
    if failed:
        sys.stderr.write(f"error: {', '.join(failed)}: see above\n")
    if not options.download and _missing:
        print("fetch what is missing: python -m teachers --download")
    return bool(failed)


def _tell(name: str, wanted: bool) -> bool:
    """Load and run one network; whether that is as it should be."""
    import numpy as np
    import torch

    from distill.errors import DistillError, MissingWeightsError
    from teachers.members import make_member

    try:
        member = make_member(name, NETWORKS[name])
    except MissingWeightsError as error:
        print(f"{name:20} missing\n    {error}")
        _missing.append(name)
        return not wanted
    except DistillError as error:
        print(f"{name:20} DOES NOT LOAD\n    {error}")
        return False
    assert member.view is not None
    pixels = np.random.default_rng(SEED).integers(0, 256, (1, *member.view.shape), dtype=np.uint8)
    with torch.inference_mode():
        features = member(torch.from_numpy(pixels))
        score = f"score {member.own_score(features).item():.6f}, " if member.has_score else ""
    parameters = sum(parameter.numel() for parameter in member.parameters()) / 1e6
    shown = features[0, 0, : member.feature_dim]
    print(
        f"{name:20} works: {score}{member.feature_dim} features, mean {shown.mean():.6f}, deviation"
        f" {shown.std():.6f}; {parameters:.2f} M parameters\n"
        f"    {member.info.source}: {member.info.detail}\n    licence: {member.info.license}"
    )
    return True


if __name__ == "__main__":
    sys.exit(main())
