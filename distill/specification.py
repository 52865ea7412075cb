"""What a bundle or an export says of itself in ``spec.json``; read without torch."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.errors import BundleError
from distill.logistic import Logistic4

SPEC = "spec.json"
FORMAT = 1
_DEMO = re.compile(r"demo-(full|tiny)-[0-9a-f]{12}")  # folders of distill.ladder.demo
_REQUIRED = {"role", "fingerprint", "architecture", "views", "calibration", "sha256", "cost",
             "provenance", "licenses"}  # fmt: skip


def read_spec(folder: Path) -> dict[str, Any]:
    """The specification of a bundle or of an export.

    Raises:
        BundleError: there is none, another version of this program wrote it, or it says nonsense.
    """
    path = folder / SPEC
    if not path.is_file():
        inner = folder / "bundle"  # of a run
        hint = "give the folder that holds it"
        hint = f"did you mean {inner}?" if (inner / SPEC).is_file() else hint
        raise BundleError(f"{folder}: not a bundle (no {SPEC}); {hint}")
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(spec, dict) or spec.get("format") != FORMAT:
        found = spec.get("format") if isinstance(spec, dict) else None
        raise BundleError(f"{path}: bundle format {found!r}; this program reads {FORMAT}")
    missing = sorted(_REQUIRED - spec.keys())
    if missing:
        raise BundleError(f"{path}: {', '.join(missing)} missing; the bundle is damaged")
    looks = spec.get("test_views", 1)
    if not isinstance(looks, int) or isinstance(looks, bool) or looks < 1:
        raise BundleError(f"{path}: test_views {looks!r}: must be an integer >= 1")
    return spec


def teacher_of(meta: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Folder and specification of the bundle that labelled a store.

    Args:
        meta: of the store.

    Raises:
        BundleError: nobody says which it was, it is gone, or another one lies there now.
    """
    if not meta.get("bundle"):
        raise BundleError("the label store does not say which teacher wrote it")
    folder = Path(meta["bundle"])
    spec = read_spec(folder)
    if spec["fingerprint"] != meta.get("teacher"):
        raise BundleError(f"{folder}: not the bundle that made these labels, {meta.get('teacher')}")
    return folder, spec


def is_export(spec: dict[str, Any]) -> bool:
    """Whether a specification is of an export, not of a bundle."""
    return "export" in spec


def calibration_of(spec: dict[str, Any], folder: Path) -> Logistic4 | None:
    """The map from raw scores to MOS; None: raw scores are all there is.

    Raises:
        BundleError: it is no such map.
    """
    try:
        return Logistic4.from_dict(spec["calibration"]) if spec["calibration"] else None
    except ValueError as error:
        raise BundleError(f"{folder / SPEC}: calibration: {error}") from error


def score_range_of(spec: dict[str, Any]) -> tuple[float, float] | None:
    """Lowest and highest MOS that it learned from; None: nobody told, as in older bundles."""
    found = spec.get("score_range")
    return (float(found[0]), float(found[1])) if found else None


def of_demo(spec: dict[str, Any]) -> bool:
    """Whether its labels are those of the embedded data: VMAF of photographs, and few of them."""
    return is_demo(spec["provenance"].get("data"))


def of_vmaf(spec: dict[str, Any]) -> bool:
    """Whether its labels are VMAF of processed copies, as make_ladder.py writes them."""
    return spec["provenance"].get("labels") == "vmaf" and not of_demo(spec)


def is_demo(table: str | Path | None) -> bool:
    """Whether a table is the embedded data's, by the folder that it is made in; None is none."""
    return table is not None and _DEMO.fullmatch(Path(table).parent.name) is not None


def find_bundle(outputs: Path, role: str) -> Path | None:
    """The newest finished bundle of a role below a folder of runs, those of the main job too.

    Not the teachers that a student's run with ``rounds`` trained, which lie within it.
    """
    found = [
        *(outputs / f"train_{role}").glob(f"**/bundle/{SPEC}"),
        *(outputs / "main_job").glob(f"*/{role}/bundle/{SPEC}"),
    ]
    newest = sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return next((path.parent for path in newest if _may_be(path, role)), None)


def _may_be(path: Path, role: str) -> bool:
    """False for the bundle of another role; who opens a damaged one will say what is wrong."""
    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["role"] == role)
    except (OSError, ValueError, KeyError, TypeError):
        return True


def uncalibrated(fingerprint: str) -> str:
    """What to say of a bundle whose scores are on nobody's scale; nobody can miss it."""
    bar = "!" * 88
    return (
        f"{bar}\n! UNCALIBRATED: bundle {fingerprint} gives its network's own scores, not MOS:"
        "\n! their order may be right, their scale means nothing. Labelled videos calibrate it:"
        "\n! python train_teacher.py with the same teacher, training=none data=manifest"
        f" data.manifest=TABLE.csv\n{bar}"
    )


def vmaf_only(fingerprint: str) -> str:
    """What to say of a bundle that learned computed labels; nobody can miss it."""
    bar = "!" * 88
    return (
        f"{bar}\n! VMAF: bundle {fingerprint} learned VMAF of processed copies, not opinions: its"
        "\n! scores say how far a video is from a good original, not how people like it."
        "\n! To learn opinions, add videos with MOS: python train_teacher.py data=manifest"
        f"\n! data.manifest=TABLE.csv 'data.also=[LADDER/manifest.csv]'\n{bar}"
    )


def demo_only(fingerprint: str) -> str:
    """What to say of a bundle of the embedded data; nobody can miss it."""
    bar = "!" * 88
    return (
        f"{bar}\n! DEMO: bundle {fingerprint} learned from the demo data only: its scores are not"
        " MOS.\n! Train on your own labels: python train_teacher.py data=manifest"
        f" data.manifest=TABLE.csv\n{bar}"
    )
