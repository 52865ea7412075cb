"""The documented commands, typed in one session on the embedded data."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.data.manifest import Row, read_manifest
from tests.helpers.documents import ROOT, Command, blocks, commands, pages
from tests.helpers.typed import FIRST, TYPED, Typed

PAGES = {command.text: command for page in pages() for command in commands(page)}
CODE = [block for page in pages() for block in blocks(page)[0] if block.language == "python"]


def _table(path: Path, header: str, rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)


def _lay_out(session: Path, manifest: Path) -> None:
    """The files that the pages name, small: FOLDER, videos.csv, a handful of KVQ and so on."""
    found = read_manifest(manifest)
    labelled = [row for split in ("train", "val", "test") for row in found.split(split)]
    pool = found.split("pool")
    folder = session / "FOLDER"
    folder.mkdir()
    for name, row in zip("ab", pool, strict=False):
        shutil.copy(row.path, folder / f"{name}.mp4")
    (folder / "teacher").mkdir()
    (block,) = (b for b in blocks(ROOT / "docs/teachers.md")[0] if b.language == "yaml")
    (folder / "teacher/mine.yaml").write_text(block.text)
    shutil.copy(folder / "a.mp4", session / "video.mp4")
    (session / "FOLDER_OF_THE_VIDEOS").symlink_to(folder)
    (session / "videos.txt").write_text("FOLDER/a.mp4\nFOLDER/b.mp4\n")
    with tarfile.open(session / "pool.tar", "w") as tar:
        tar.add(folder / "a.mp4", "a.mp4")
    _table(session / "FILE.csv", "filename,score", [("a.mp4", 2.5), ("b.mp4", 3.5)])
    _table(session / "theirs.csv", "filename,score", [(r.path, 3 + r.mos) for r in labelled])
    table = [(r.path, r.mos, r.split, r.group) for r in labelled]
    _table(session / "videos.csv", "video,mos,split,group", list(table))
    _parquet(session, labelled)
    _kvq(session / "data", labelled)


def _parquet(session: Path, rows: list[Row]) -> None:
    """scores.parquet of docs/data.md: folder, vid (A12_1), MOS, SD."""
    (session / "own").mkdir()
    groups = sorted({row.group for row in rows})
    names = [f"A{groups.index(row.group)}_{at}" for at, row in enumerate(rows)]
    for name, row in zip(names, rows, strict=True):
        (session / "own" / f"{name}.mp4").symlink_to(row.path)
    columns = {
        "folder": ["own"] * len(rows),
        "vid": names,
        "MOS": [row.mos for row in rows],
        "SD": [0.1] * len(rows),
        "split": [row.split for row in rows],
    }
    pq.write_table(pa.table(columns), session / "scores.parquet")


def _kvq(data: Path, rows: list[Row]) -> None:
    """A KVQ of a train and a val set: two groups of 7, of which all videos are here."""
    for split in ("train", "val"):
        videos = [row for row in rows if row.split == split][:14]
        (data / "KVQ" / split).mkdir(parents=True)
        labels = []
        for at, row in enumerate(videos, 1):
            (data / "KVQ" / split / f"{at:04}.mp4").symlink_to(row.path)
            labels.append((f"{split}/{at:04}.mp4", row.mos))
        _table(data / "KVQ" / f"{split}_data.csv", "filename,score", list(labels))
    (data / "KVQ" / "test").mkdir()
    shutil.copy(rows[0].path, data / "KVQ" / "test" / "0001.mp4")
    (data / "labels").mkdir()
    (data / "labels" / "kvq").mkdir()
    for split in ("train", "val"):
        shutil.copy(data / "KVQ" / f"{split}_data.csv", data / "labels" / "kvq")


def _words(entry: Typed, session: Path) -> list[str]:
    """What is typed: the page's words with what stands for placeholders, and those added."""
    words = [*Command("", 0, entry.text).words[1:], *entry.added]
    for placeholder, file in entry.put:
        words = [re.sub(rf"(^|=){placeholder}$", rf"\g<1>{file}", word) for word in words]
    # /data/KVQ of the pages is a folder of the session.
    return [re.sub(r"(?<![\w/])/data/", f"{session}/data/", word) for word in words]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_documented_commands_do_what_the_pages_say(demo_manifest: Path, tmp_path: Path) -> None:
    session = tmp_path / "session"
    told = tmp_path / "told"
    for made in (session, told):
        made.mkdir()
    _lay_out(session, demo_manifest)
    for name, run in FIRST.items():
        (session / name).symlink_to(session / "outputs" / run)
    lines = [_words(entry, session) for entry in TYPED]
    lines += [["-c", f"paths = ['video.mp4']\n{block.text}"] for block in CODE]
    (told / "commands.json").write_text(json.dumps(lines))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment["DISTILL_OUTPUTS"] = str(session / "outputs")
    subprocess.run(
        [sys.executable, "-m", "tests.helpers.type_commands", str(told)],
        cwd=session, env=environment, check=True, timeout=880,
    )  # fmt: skip
    codes = json.loads((told / "codes.json").read_text())
    wrong = []
    shown = [*TYPED, *(Typed(f"{block.page}:{block.line}") for block in CODE)]
    for at, (entry, code) in enumerate(zip(shown, codes, strict=True)):
        printed = (told / f"{at}.txt").read_text(errors="replace")
        if code != entry.code or entry.prints not in printed or "Traceback" in printed:
            wrong.append(
                f"{PAGES.get(entry.text, entry.text)}\n  exit code {code}\n{printed[-1500:]}"
            )
    assert not wrong, "\n".join(wrong)
