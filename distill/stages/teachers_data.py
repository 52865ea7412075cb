"""What a teacher learned from: as words for the next command, and beside what its labels meet."""

import logging
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from distill.bundle import Bundle
from distill.data.tables import TABLE_SUFFIXES
from distill.errors import BundleError
from distill.labels import LabelStore
from distill.options import DataConfig
from distill.runs import CONFIG
from distill.specification import is_demo, teacher_of
from distill.words import option_word, quoted

log = logging.getLogger(__name__)
# The options of ``data`` that say which videos there are, and which of them are held out.
_SINGLE = "manifest root group_regex labels as_split labelled_groups val_share".split()
_NESTED = ("columns", "options")


def data_words(data: DataConfig | Mapping[str, Any]) -> list[str]:
    """The words that give another command the same videos, quoted for a shell.

    Args:
        data: options of a command, or what its ``config.yaml`` has of them.

    Returns:
        ``data=NAME`` and what is not that choice's default; empty for the embedded data.
    """
    given = {**asdict(DataConfig()), **(asdict(data) if isinstance(data, DataConfig) else data)}
    choice = "manifest" if given["manifest"] else str(given["name"])
    defaults = {**asdict(DataConfig()), **_defaults(choice)}
    words = [
        option_word(f"data.{name}", str(given[name]))
        for name in _SINGLE
        if given[name] != defaults[name]
    ]
    for name in _NESTED:
        words += [
            option_word(f"data.{name}.{key}", str(value))
            for key, value in given[name].items()
            if value is not None and value != defaults[name].get(key)
        ]
    if given["also"]:
        also = ",".join(quoted(str(table)) for table in given["also"])
        words.append(shlex.quote(f"data.also=[{also}]"))
    return words if choice == "demo" else [f"data={choice}", *words]


def words_of_teacher(bundle: Bundle) -> list[str]:
    """The words that give a student the videos that its teacher learned from.

    The options of the teacher's run tell them; of a bundle that lies elsewhere, its table does.
    A name in capitals is for the user to fill in.
    """
    table = bundle.spec["provenance"].get("data")
    if table is None:  # published scores as they are
        return ["data=manifest", "data.manifest=TABLE.csv"]
    if is_demo(table):
        return []
    own = Path(bundle.folder).parent / CONFIG
    options = yaml.safe_load(own.read_text(encoding="utf-8")) if own.is_file() else {}
    data = options.get("data")
    if data is None:
        if Path(table).suffix.lower() not in TABLE_SUFFIXES:
            return ["data=NAME", "data.root=FOLDER"]
        data = {"name": "manifest"}
    if data["name"] == "manifest" or data.get("manifest"):
        data |= {"manifest": str(table)}  # absolute: the run may have been typed in another folder
    return data_words(data)


def warn_of_mixed_data(store: LabelStore, table: Path) -> None:
    """Warn where one of labels and MOS is of the embedded data and the other is not.

    Silent where the store does not tell its teacher, or the teacher is no longer there.

    Args:
        store: of the pseudo-labels.
        table: that the MOS stand in.
    """
    learned = _learned_from(store)
    if learned is None or is_demo(learned) == is_demo(table):
        return
    bar = "!" * 88
    if is_demo(table):
        log.warning(
            "%s\n! The MOS are of the DEMO data, but the pseudo-labels %s are not: their teacher"
            "\n! learned from %s. The student would learn two scales. Name your own table:"
            "\n! data=manifest data.manifest=TABLE.csv\n%s", bar, store.folder, learned, bar,
        )  # fmt: skip
    else:
        log.warning(
            "%s\n! The pseudo-labels %s are of a teacher of the DEMO data, but the MOS of"
            "\n! %s are not. The student would learn two scales. Train a teacher on your table"
            "\n! and label with it, or do without: labels=none\n%s", bar, store.folder, table, bar,
        )  # fmt: skip


def _defaults(choice: str) -> dict[str, Any]:
    """What ``conf/data`` says of a choice; nothing for a name of the user's own."""
    path = files("conf").joinpath("data", f"{choice}.yaml")
    return dict(yaml.safe_load(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _learned_from(store: LabelStore) -> str | None:
    """The table of a store's teacher; of one without labels, the pool. None: nobody can say."""
    try:
        spec = teacher_of(store.meta)[1]
    except BundleError:
        return None
    found = spec["provenance"].get("data") or store.meta.get("pool")
    return str(found) if found else None
