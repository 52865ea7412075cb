"""An export whose scores can be told by hand: the mean level of each frame, 0..255."""

import json
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from distill.data.identity import sha256_of
from distill.data.views import KeyFrames
from distill.deploy.exports import FILES, ONNX
from distill.specification import FORMAT, SPEC

_OPSET = 17


def brightness_export(folder: Path, frames: int = 2, **changes: Any) -> Path:
    """Write the export; it needs no torch, neither here nor to run.

    Args:
        folder: made.
        frames: key frames of a video, 32 pixels each.
        changes: of ``spec.json``.
    """
    folder.mkdir(parents=True)
    shape = ["batch", frames, 3, 32, 32]
    nodes = [
        helper.make_node("Cast", ["frames"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["levels"], ["frame_scores"], axes=[2, 3, 4], keepdims=0),
        helper.make_node("ReduceMean", ["frame_scores"], ["score"], axes=[1], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, shape)],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("frame_scores", TensorProto.FLOAT, ["batch", frames]),
        ],
    )
    imports = [helper.make_opsetid("", _OPSET)]
    made = helper.make_model(graph, opset_imports=imports, ir_version=8)
    onnx.save(made, folder / FILES[ONNX])
    view = KeyFrames(frames, 32)
    options = {"kind": "KeyFrames", **view.__dict__, "shape": list(view.shape)}
    spec = {
        "format": FORMAT, "role": "student", "fingerprint": "brightness", "architecture": {},
        "views": {"frames": options}, "sha256": "", "cost": {}, "licenses": [],
        "provenance": {"data": None},
        # Levels as MOS: 0 is 1 and 255 is 5.
        "calibration": {"beta1": 0.0, "beta2": 0.0, "beta3": 0.0, "beta4": 1.0,
                        "slope": 4 / 255, "intercept": 1.0, "fallback": "by hand"},
        "export": {
            "inputs": ["frames"], "outputs": ["score", "frame_scores"],
            "graphs": {ONNX: {"sha256": sha256_of(folder / FILES[ONNX])}},
        },
    }  # fmt: skip
    (folder / SPEC).write_text(json.dumps(spec | changes))
    return folder
