"""Writes an export: graphs, their checks on real videos, and what they are, for people and code."""

import importlib.metadata
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.bundle import README, Bundle
from distill.data.identity import sha256_of
from distill.data.reader import VideoReader
from distill.data.rows import Row
from distill.deploy.checks import (
    TOLERANCE,
    check,
    largest_difference,
    mos,
    on_torch,
    seconds_each,
    see_clips,
)
from distill.deploy.exports import FILES, INT8, ONNX, TORCH, Export, read_export
from distill.deploy.graphs import EXTRA, write_graphs
from distill.deploy.int8 import quantise
from distill.deploy.onnx_model import OnnxModel, Seen
from distill.deploy.torch_program import TorchProgram
from distill.errors import ExportError
from distill.metrics import srcc
from distill.specification import SPEC


def write_export(
    bundle: Bundle, folder: Path, rows: Sequence[Row], reader: VideoReader
) -> tuple[Export, list[Seen]]:
    """Write and check an export with its float graphs.

    Args:
        bundle: of a student.
        folder: made here; where this raises, what it holds is not to be used.
        rows: real videos to check with.
        reader: of them.

    Returns:
        The export, and the videos as the network sees them.

    Raises:
        ExportError: the network cannot be exported, no video can be read, or a graph says
            something else than the network.
    """
    folder.mkdir(parents=True)
    about = write_graphs(bundle.model, folder)
    graphs: dict[str, Any] = {kind: _file(folder, kind) for kind in (ONNX, TORCH)}
    versions = {name: importlib.metadata.version(name) for name in ("torch", *EXTRA)}
    section = {**about, **versions, "graphs": graphs}
    _write(folder, {**bundle.spec, "export": section})
    export = read_export(folder)
    if export.views != dict(bundle.model.views):
        raise ExportError(f"{SPEC} does not describe the views of {type(bundle.model).__name__}")
    runtime = OnnxModel(export, device="cpu")
    seen = see_clips(runtime, rows, reader)
    for kind, graph in ((ONNX, runtime), (TORCH, on_torch(TorchProgram(export)))):
        difference = largest_difference(bundle, graph, seen)
        check(FILES[kind], difference)
        graphs[kind] |= {"largest_difference": difference, "videos": len(seen)}
    _write(folder, {**bundle.spec, "export": section})
    return read_export(folder), seen


def write_int8(
    export: Export,
    seen: Sequence[Seen],
    labelled: Sequence[Row],
    reader: VideoReader,
    keep_slower: bool,
) -> dict[str, Any]:
    """Add a quantised graph to an export; where it is refused, the export stays as it was.

    Args:
        export: with its float graph.
        seen: real videos to calibrate and time with.
        labelled: with MOS; none of them: the scores of ``seen`` are compared.
        reader: of the labelled videos.
        keep_slower: than the float graph, all the same.

    Returns:
        ``milliseconds`` of a forward pass of each graph on this processor, and what the
        quantisation costs.

    Raises:
        ExportError: it is slower, or onnxruntime cannot quantise the graph.
    """
    with tempfile.TemporaryDirectory(prefix=".int8-", dir=export.folder) as place:
        file = Path(place) / FILES[INT8]
        quantise(export.graph(ONNX), file, seen)
        about = {**_file(Path(place), INT8), "calibrated_on": len(seen)}
        both = [OnnxModel(export, ONNX, "cpu"), OnnxModel(export, INT8, "cpu", graph=file)]
        spent = [1e3 * each for each in seconds_each(both, seen)]
        about |= {
            "milliseconds": dict(zip((ONNX, INT8), spent, strict=True)),
            "processor": platform.processor() or platform.machine(),
            "cost": _cost(export, both, seen, labelled, reader),
        }
        if spent[1] > spent[0] and not keep_slower:
            raise ExportError(
                f"int8 is slower on this processor: {spent[1]:.1f} ms a video, the float graph"
                f" {spent[0]:.1f} ms. {export.folder} is complete without it; --keep-slower keeps"
                " such a graph, for a processor where it is faster"
            )
        os.replace(file, export.folder / FILES[INT8])
    spec = export.spec
    spec["export"]["graphs"][INT8] = about
    _write(export.folder, spec)
    return about


def _cost(
    export: Export,
    both: Sequence[OnnxModel],
    seen: Sequence[Seen],
    labelled: Sequence[Row],
    reader: VideoReader,
) -> dict[str, float]:
    """What quantisation does to scores: SRCC of both on labelled videos, or how far they move."""
    if not labelled:
        before, after = (mos(export, graph, seen) for graph in both)
        moved = np.abs(after - before)
        return {
            "videos": len(seen),
            "mean_difference": float(moved.mean()),
            "largest_difference": float(moved.max()),
        }
    videos, truth, scores = 0, [], ([], [])  # type: ignore[var-annotated]
    for row in labelled:  # one at a time: a table may be long
        video = both[0].see(reader, row)
        if video.error:
            continue
        videos += 1
        truth.append(row.mos)
        for graph, found in zip(both, scores, strict=True):
            found.extend(mos(export, graph, [video]))
    if videos < 3:
        raise ExportError(f"{videos} of {len(labelled)} labelled videos can be decoded; it takes 3")
    before, after = (np.array(found) for found in scores)
    return {
        "videos": videos,
        "srcc_onnx": srcc(before, truth),
        "srcc_int8": srcc(after, truth),
        "largest_difference": float(np.abs(after - before).max()),
    }


def _file(folder: Path, kind: str) -> dict[str, Any]:
    path = folder / FILES[kind]
    return {
        "file": path.name,
        "sha256": sha256_of(path),
        "megabytes": round(path.stat().st_size / 1e6, 3),
    }


def _write(folder: Path, spec: dict[str, Any]) -> None:
    """Both texts; ``spec.json`` comes last and at once: what reads it finds all that it names."""
    (folder / README).write_text(_readme(spec), encoding="utf-8")
    part = folder / f".{SPEC}"
    part.write_text(json.dumps(spec, indent=2) + "\n", encoding="utf-8")
    os.replace(part, folder / SPEC)


def summary(spec: dict[str, Any]) -> str:
    """A line for each graph of an export."""
    lines = []
    for kind, graph in spec["export"]["graphs"].items():
        line = f"* `{graph['file']}`: {graph['megabytes']:.1f} MB"
        if "largest_difference" in graph:
            line += (
                f"; scores {graph['videos']} videos, one by one and in a batch, as the network does"
                f" to {graph['largest_difference']:.0e} MOS ({TOLERANCE:g} is allowed)"
            )
        if kind == INT8:
            spent, cost = graph["milliseconds"], dict(graph["cost"])
            told = ", ".join(f"{k.replace('_', ' ')} {v:.4f}" for k, v in cost.items()
                             if k != "videos")  # fmt: skip
            line += (
                f"; {spent[INT8]:.1f} ms a forward pass, the float graph {spent[ONNX]:.1f} ms;"
                f" against it on {cost['videos']} videos: {told}"
            )
        lines.append(line)
    return "\n".join(lines)


def _readme(spec: dict[str, Any]) -> str:
    section = spec["export"]
    inputs = "\n".join(
        f"* `{name}`: uint8 {shape}, RGB 0..255" for name, shape in section["inputs"].items()
    )
    outputs = "\n".join(
        f"* `{name}`: float32 {shape}" for name, shape in section["outputs"].items()
    )
    licenses = "\n".join(f"* {text}" for text in spec["licenses"])
    return f"""# Distill-VQA student {spec["fingerprint"]}, exported

{summary(spec)}

Score videos: `python score.py VIDEO_OR_FOLDER --bundle THIS_FOLDER`, or `import distill`,
`distill.load("THIS_FOLDER").score("video.mp4")`.

## Inputs
{inputs}

`batch` is any number of videos. The views are described under `views` in `{SPEC}`; normalisation is
part of the graph. `distill.deploy.onnx_model.OnnxModel.see` makes them of a video with numpy alone.

## Outputs
{outputs}

Raw: `calibration` in `{SPEC}` maps them to MOS, beta2 + (beta1 - beta2) / (1 + exp(-(x - beta3) /
beta4)), or intercept + slope * x where `fallback` says why.

## Learned from
{licenses}
"""
