"""Read an offline W&B run back from its file.

The file is a LevelDB log after a 7-byte head: blocks of 32 KiB that hold chunks, each with a
checksum (4 bytes), a length (2) and a kind (1: whole, 2: first, 3: middle, 4: last).
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

from wandb.proto import wandb_internal_pb2 as pb

_BLOCK, _HEAD = 1 << 15, 7
_PATIENCE = 300  # tenths of a second: finish() returns before the file is whole


@dataclass
class OfflineRun:
    """What a run logged: its keys, how often each, and the final summary's."""

    history: dict[str, int] = field(default_factory=dict)
    summary: set[str] = field(default_factory=set)
    config: set[str] = field(default_factory=set)
    kinds: dict[str, int] = field(default_factory=dict)


def read_offline_run(folder: Path) -> OfflineRun:
    """The one offline run below a folder, once W&B's own process has written its last record."""
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
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
        for item in record.history.item:
            # Pictures and tables are nested: their key has a child that names the kind.
            key = (item.key or "/".join(item.nested_key)).removesuffix("/_type")
            run.history[key] = run.history.get(key, 0) + 1
        run.summary |= {i.key or "/".join(i.nested_key) for i in record.summary.update}
        for update in (*record.config.update, *record.run.config.update):
            run.config.add(update.key or "/".join(update.nested_key))
    return run


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
