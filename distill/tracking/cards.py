"""What W&B gets of data, bundles and label stores: a card of digests and counts, no name or path.

A card is the same wherever it is made: the run that makes a thing and the one that takes it in
write the same bytes, so W&B sees one artifact, and its graph joins the two runs.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from distill.data.rows import Row
from distill.labels import LabelStore

_SPLITS = ("train", "val", "test", "pool")


@dataclass(frozen=True)
class Card:
    """An artifact of W&B.

    Attributes:
        kind: W&B's type: dataset, model or labels.
        name: unique to the thing.
        content: JSON; also the artifact's metadata.
    """

    kind: str
    name: str
    content: dict[str, Any]

    @property
    def text(self) -> str:
        """The artifact's one file: equal content is equal bytes."""
        return json.dumps(self.content, sort_keys=True, indent=2) + "\n"


def dataset_card(rows: Iterable[Row], name: str) -> Card:
    """Of videos: how many of each split, from how many contents, and a digest of the table.

    Args:
        rows: in any order, taken once.
        name: of the data set, as ``data.name``.
    """
    counts: Counter[str] = Counter()
    labelled: Counter[str] = Counter()
    groups: dict[str, set[str]] = {split: set() for split in _SPLITS}
    digest = Digest()
    for row in rows:
        counts[row.split] += 1
        labelled[row.split] += math.isfinite(row.mos)
        groups[row.split].add(row.group)
        digest.add(row.video, row.mos, row.split, row.group)
    content = {
        "data": name,
        "videos": counts.total(),
        "splits": {
            split: {
                "videos": counts[split],
                "labelled": labelled[split],
                "contents": len(groups[split]),
            }
            for split in _SPLITS
        },
        "digest": digest.text,
    }
    return Card("dataset", f"dataset-{digest.text[:16]}", content)


def model_card(spec: Mapping[str, Any]) -> Card:
    """Of a bundle: what it costs, what it measured, and its fingerprint.

    Args:
        spec: what ``spec.json`` says.
    """
    provenance, cost = spec["provenance"], spec["cost"]
    content = {
        "role": spec["role"],
        "fingerprint": spec["fingerprint"],
        "sha256": spec["sha256"],
        "network": spec["architecture"]["_target_"],
        "test_views": spec.get("test_views", 1),
        "gmacs": cost["gmacs"],
        "params_m": cost["params_m"],
        "metrics": {name: finite(value) for name, value in spec["metrics"].items()},
        "labelled": provenance.get("labelled"),
        "pseudo_labelled": provenance.get("pseudo_labelled"),
    }
    return Card("model", f"{spec['role']}-{spec['fingerprint']}", content)


def labels_card(store: LabelStore) -> Card:
    """Of a label store as it stands: who labelled how many videos, and a digest of the scores."""
    digest, count = Digest(), 0
    for path, score in store.pairs():
        digest.add(path, score)
        count += 1
    meta = store.meta
    known = meta.get("bundle")  # the name of a file of scores is no teacher's fingerprint
    content = {
        "teacher": meta["teacher"] if known else "unknown",
        "precision": meta.get("precision"),
        "labelled": count,
        "digest": digest.text,
    }
    return Card("labels", f"labels-{meta.get('id') or digest.text[:16]}", content)


class Digest:
    """A hash of records that does not depend on their order."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, *values: object) -> None:
        """Count a record in."""
        data = json.dumps([repr(value) for value in values]).encode()
        self._sum += int.from_bytes(hashlib.sha256(data).digest(), "big")

    @property
    def text(self) -> str:
        """64 hexadecimal digits."""
        return f"{self._sum % 2**256:064x}"


def finite(value: Any) -> Any:
    """None in the place of a number that JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
