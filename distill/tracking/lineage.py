"""Which runs belong together: a group that a teacher's run begins and its descendants inherit."""

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NOTE = "tracking.json"  # in the run directory: what a resumed run goes on with
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


def group_of_bundle(spec: Mapping[str, Any]) -> str:
    """The group of a bundle; of one from before there were groups, a name that is always the same.

    Args:
        spec: what ``spec.json`` says.
    """
    return spec["provenance"].get("group") or f"teacher-{spec['fingerprint']}"


def group_of_store(meta: Mapping[str, Any]) -> str | None:
    """The group of a label store, by its own word or its teacher's fingerprint.

    Returns:
        None for labels of an unknown teacher.
    """
    teacher = str(meta.get("teacher"))
    return meta.get("group") or (f"teacher-{teacher}" if _FINGERPRINT.fullmatch(teacher) else None)


def choose_group(given: str | None, origins: Sequence[str | None], data: str) -> str:
    """The group of a new run.

    Args:
        given: ``tracking.group``; goes before all else.
        origins: groups of what the run takes in, the closest first; None where one has no group.
        data: name of the data set; a new group begins with it.
    """
    inherited = next((origin for origin in origins if origin), None)
    # Not from the date, nor from the seed: two teachers of one second and seed are two.
    return given or inherited or f"{data}-{uuid.uuid4().hex[:8]}"


def run_name(stage: str, config: Mapping[str, Any], folder: Path) -> str:
    """A name that tells runs of a group apart, and where one lies on disk.

    Args:
        stage: the command.
        config: its options.
        folder: the run directory, named by its start.
    """
    role = stage.removeprefix("train_")
    network = str(config.get(role, {}).get("_target_", "")).rpartition(".")[2]
    words = [role, network, config["data"]["name"]]
    if config.get("budget") is not None:
        words.append(f"budget {config['budget']:g}")
    return " ".join(word for word in [*words, f"seed {config['seed']}", folder.name] if word)


def read_note(folder: Path) -> dict[str, str]:
    """Group and W&B id of the run of a directory; empty where it has none."""
    path = folder / NOTE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_note(folder: Path, **told: str) -> None:
    """Keep group and W&B id for the rest of a run that is resumed, and where it lay."""
    text = json.dumps({**read_note(folder), **told}, indent=2)
    whole = folder / f"{NOTE}.tmp"
    whole.write_text(text + "\n", encoding="utf-8")
    whole.replace(folder / NOTE)  # a torn one would stop a resumption
