"""Exports: a folder with a student's graphs and ``spec.json``; read without torch.

``spec.json`` is the bundle's, calibration and all, and a section ``export``: ``inputs`` (name and
shape of each view, in the graph's order), ``outputs``, and ``graphs``: of each kind its file, its
SHA-256 and what it was checked with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from distill.data.identity import sha256_of
from distill.data.views import VIEW_KINDS, View
from distill.errors import BundleError
from distill.logistic import Logistic4
from distill.specification import SPEC, calibration_of, is_export, read_spec

ONNX, TORCH, INT8 = "onnx", "torch", "int8"
FILES = {ONNX: "model.onnx", TORCH: "model.pt2", INT8: "model_int8.onnx"}
SCORE, FRAME_SCORES = "score", "frame_scores"  # outputs: (batch,) and (batch, T), raw


@dataclass(frozen=True)
class Export:
    """An export's specification, checked.

    Attributes:
        folder: where it is.
        spec: all of ``spec.json``.
        views: name -> what to make of a video, in the order of the graph's inputs.
        calibration: raw score -> MOS scale; None: raw scores are all there is.
    """

    folder: Path
    spec: dict[str, Any]
    views: dict[str, View]
    calibration: Logistic4 | None

    def graph(self, kind: str) -> Path:
        """The file of a graph, its checksum verified.

        Raises:
            BundleError: there is none of that kind, or the file is missing or damaged.
        """
        graphs = self.spec["export"]["graphs"]
        if kind not in graphs:
            how = "; make one with export.py --int8" if kind == INT8 else ""
            raise BundleError(f"{self.folder}: has no {kind} graph, only {', '.join(graphs)}{how}")
        path = self.folder / FILES[kind]
        if not path.is_file():
            raise BundleError(f"{path}: missing; the export is incomplete, copy it again")
        if sha256_of(path) != graphs[kind]["sha256"]:
            raise BundleError(f"{path}: checksum differs from {SPEC}; the file is damaged")
        return path

    def fingerprint(self, kind: str) -> str:
        """What decides a score: the bundle's, and that the graph is quantised."""
        whole = str(self.spec["fingerprint"])
        return f"{whole}-int8" if kind == INT8 else whole


def read_export(folder: Path) -> Export:
    """The export in a folder.

    Raises:
        BundleError: it is none, or was made by another version of this program.
    """
    spec = read_spec(folder)
    if not is_export(spec):
        raise BundleError(
            f"{folder}: a bundle, not an export; make one: python export.py --bundle {folder}"
            " --out FOLDER"
        )
    try:
        views = {name: view_of(spec["views"][name]) for name in spec["export"]["inputs"]}
        _ = spec["export"]["graphs"]
    except (KeyError, TypeError, ValueError) as error:
        told = f"{type(error).__name__}: {error}"
        raise BundleError(f"{folder / SPEC}: not readable as an export ({told})") from error
    return Export(folder, spec, views, calibration_of(spec, folder))


def view_of(options: Mapping[str, Any]) -> View:
    """The view that a specification describes: ``{"kind": "KeyFrames", "num_frames": 8, ...}``.

    Raises:
        ValueError: no such view, or not with these options.
    """
    kinds = {cls.__name__: cls for cls in VIEW_KINDS.values()}
    if options["kind"] not in kinds:
        raise ValueError(f"view {options['kind']!r}; known are {', '.join(kinds)}")
    cls = kinds[options["kind"]]
    known = {field.name for field in fields(cls) if field.init}  # type: ignore[arg-type]
    given = {name: value for name, value in options.items() if name not in ("kind", "shape")}
    if not given.keys() <= known:
        raise ValueError(f"{options['kind']} has no {', '.join(sorted(given.keys() - known))}")
    view = cls(**given)
    if list(view.shape) != list(options["shape"]):
        raise ValueError(f"{options['kind']} gives {view.shape}, not {options['shape']}")
    return view
