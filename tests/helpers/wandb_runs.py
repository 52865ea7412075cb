"""Read an offline W&B run back from its file: what `wandb sync` would send.

The file is a LevelDB log after a 7-byte head: blocks of 32 KiB that hold chunks, each with a
checksum (4 bytes), a length (2) and a kind (1: whole, 2: first, 3: middle, 4: last).
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as pb

_BLOCK, _HEAD = 1 << 15, 7
_PATIENCE = 300  # tenths of a second: finish() returns before the file is whole


@dataclass
class SentArtifact:
    """An artifact record: what W&B's server would make of it, and where its files wait."""

    kind: str
    digest: str
    used: bool
    metadata: dict[str, Any]
    files: list[Path]


@dataclass
class OfflineRun:
    """What a run logged: its keys, how often each, and the final summary's."""

    history: dict[str, int] = field(default_factory=dict)
    summary: set[str] = field(default_factory=set)
    config: set[str] = field(default_factory=set)
    kinds: dict[str, int] = field(default_factory=dict)
    charts: set[str] = field(default_factory=set)
    artifacts: dict[str, SentArtifact] = field(default_factory=dict)
    stats: set[str] = field(default_factory=set)
    values: dict[str, Any] = field(default_factory=dict)
    group: str = ""
    job_type: str = ""
    name: str = ""
    run_id: str = ""
    host: str = ""
    sent: bytes = b""

    def cards(self, used: bool) -> set[str]:
        """Names of the artifacts that the run takes in, or makes; W&B's tables apart."""
        return {
            name
            for name, artifact in self.artifacts.items()
            if artifact.used == used and artifact.kind != "run_table"
        }


def read_offline_run(folder: Path) -> OfflineRun:
    """The one offline run below a folder, once W&B's own process has written its last record."""
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    return read_file(path)


def read_file(path: Path) -> OfflineRun:
    """The same for a file."""
    for _ in range(_PATIENCE):
        run = _read(path)
        if "exit" in run.kinds:
            return run
        time.sleep(0.1)
    return run


def _read(path: Path) -> OfflineRun:
    run = OfflineRun()
    for data in _records(path.read_bytes()):
        record = pb.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        run.kinds[kind] = run.kinds.get(kind, 0) + 1
        if kind == "run":
            run.group, run.job_type = record.run.run_group, record.run.job_type
            run.name, run.run_id = record.run.display_name, record.run.run_id
            run.host = record.run.host
        if kind == "artifact":
            _add_artifact(run, record.artifact)
        run.stats |= {item.key for item in record.stats.item}
        for item in record.history.item:
            # Pictures and tables are nested: their key has a child that names the kind.
            key = (item.key or "/".join(item.nested_key)).removesuffix("/_type")
            run.history[key] = run.history.get(key, 0) + 1
        for item in record.summary.update:
            key = item.key or "/".join(item.nested_key)
            run.summary.add(key)
            run.values[key] = json.loads(item.value_json)
        for update in (*record.config.update, *record.run.config.update):
            words = [update.key] if update.key else list(update.nested_key)
            run.config.add("/".join(words))
            if words[:2] == ["_wandb", "visualize"]:
                run.charts.add(words[2])
        # Where a file waits on this machine is not sent.
        for entry in record.artifact.manifest.contents:
            entry.local_path = ""
        run.sent += record.SerializeToString()
    return run


def _add_artifact(run: OfflineRun, artifact: Any) -> None:
    run.artifacts[artifact.name] = SentArtifact(
        artifact.type,
        artifact.digest,
        artifact.use_after_commit,
        json.loads(artifact.metadata or "{}"),
        [Path(entry.local_path) for entry in artifact.manifest.contents],
    )


def _records(data: bytes) -> list[bytes]:
    assert data[:4] == b":W&B"
    position, parts, out = _HEAD, b"", []
    while position + _HEAD <= len(data):
        left = _BLOCK - position % _BLOCK
        if left < _HEAD:
            position += left
            continue
        length = int.from_bytes(data[position + 4 : position + 6], "little")
        kind = data[position + 6]
        if position + _HEAD + length > len(data):
            break  # not written to its end yet
        parts += data[position + _HEAD : position + _HEAD + length]
        position += _HEAD + length
        if kind in (1, 4):
            out.append(parts)
            parts = b""
    return out
