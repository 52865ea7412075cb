"""Data sets as users name them: data=kvq in a command, and python -m distill.datasets."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from distill.config import DataConfig
from distill.data.manifest import read_manifest
from distill.data.public_sets import public_sets
from distill.data.readers import make_reader
from distill.datasets.__main__ import run
from distill.errors import ConfigError, ManifestError
from distill.overrides import check_overrides
from distill.stages.inputs import load_manifest
from tests.helpers.video_files import make_clip

ROOT = Path(__file__).parents[3]


def fake_kvq(root: Path, missing: str = "") -> Path:
    """Two contents for each split, of real videos of 32 pixels."""
    root.mkdir()
    clip = make_clip(root, "tiny.mp4")
    for split in ("train", "val", "test"):
        (root / f"{split}_video").mkdir()
        lines = ["filename,score"]
        for i in range(1, 15):
            lines.append(f"{split}/{i:04d}.mp4,{1 + i / 7:.6f}")
            if f"{split}/{i}" != missing:
                shutil.copy(clip, root / f"{split}_video/{i:04d}.mp4")
        (root / f"{split}_data.csv").write_text("\n".join(lines))
    clip.unlink()
    return root


def data(*words: str) -> DataConfig:
    return check_overrides("train_teacher", list(words)).data


def test_kvq_from_the_command_line_to_decoded_frames(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = fake_kvq(tmp_path / "KVQ, a copy", missing="train/5")
    manifest = load_manifest(data("data=kvq", f'data.root="{root}"'))
    counts = {name: len(manifest.split(name)) for name in ("train", "val", "test", "pool")}
    assert counts == {"train": 13, "val": 14, "test": 14, "pool": 0}
    assert {row.group for row in manifest.split("train")} == {"train/0001", "train/0008"}
    assert "'train/0005.mp4': no such video" in caplog.text
    assert "train: 14 rows, published 2926" in caplog.text
    row = manifest.split("test")[3]
    assert (row.video, row.mos) == ("test_video/0004.mp4", 1.571429)
    assert row.extra == {"name": "test/0004.mp4"}
    assert make_reader("auto").probe(row.path).width == 32


def test_labels_beside_the_videos_or_elsewhere(tmp_path: Path) -> None:
    root = fake_kvq(tmp_path / "KVQ")
    (tmp_path / "labels").mkdir()
    for file in root.glob("*.csv"):
        file.rename(tmp_path / "labels" / file.name)
    with pytest.raises(ManifestError, match="no labels of KVQ"):
        load_manifest(data("data=kvq", f"data.root={root}"))
    words = ["data=kvq", f"data.root={root}"]
    assert len(load_manifest(data(*words, f"data.labels={tmp_path / 'labels'}")).rows) == 42
    one = f"data.labels={tmp_path / 'labels/train_data.csv'}"
    assert len(load_manifest(data(*words, one)).rows) == 14
    whole = load_manifest(data(*words, one, "data.as_split=test"))
    assert len(whole.split("test")) == 14


def test_the_1080p_videos_of_lsvq_are_a_test_set_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "train_labels.txt").write_text("ia-batch1/a.mp4,-1,-1,50\n")
    (tmp_path / "labels_test.txt").write_text("ia-batch1/b.mp4,-1,-1,60\n")
    (tmp_path / "labels_1080p.txt").write_text("ia-batch1/c.mp4,-1,-1,70\n")
    (tmp_path / "LSVQ/ia-batch1").mkdir(parents=True)
    for name in "abc":
        (tmp_path / f"LSVQ/ia-batch1/{name}.mp4").touch()
    rows = {
        name: [(r.video, r.split) for r in load_manifest(data(f"data={name}", where)).rows]
        for where in [f"data.root={tmp_path}"]
        for name in ("lsvq", "lsvq_1080p")
    }
    assert sorted(rows["lsvq"]) == [
        ("LSVQ/ia-batch1/a.mp4", "train"), ("LSVQ/ia-batch1/b.mp4", "test"),
    ]  # fmt: skip
    assert rows["lsvq_1080p"] == [("LSVQ/ia-batch1/c.mp4", "test")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=kvq"], "data=kvq needs the folder of its videos: data.root=FOLDER"),
        (["data.labels=x"], "not for data=demo"),
        (["data.group_regex=x"], "do not apply to data=demo"),
        (["data=kvq", "data.root=.", "data.group_regex=x"], "do not apply to data=kvq"),
    ],
)
def test_options_that_would_change_nothing(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_manifest(data(*words))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=kvg"], "data is one of cvd2014, demo"),
        (["data=kvq", "data.manifest=a.csv"], "data=kvq and the table a.csv: give one of them"),
        (["data.as_split=tset"], "did you mean test"),
        (["data=finevd", "data.options.dimensoin=noise"], "did you mean data.options.dimension"),
        (["data=manifest", "data.columns.vidoe=noise"], "did you mean data.columns.video"),
    ],
)
def test_words_that_are_wrong(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        data(*words)
    assert message in str(caught.value)


def test_every_adapter_is_a_choice_and_every_choice_has_an_adapter() -> None:
    modules = {p.stem for p in (ROOT / "distill/datasets").glob("*.py")} - {"__init__", "__main__"}
    assert {node["adapter"] for node in public_sets().values()} == modules
    for name, node in public_sets().items():
        assert data(f"data={name}").name == node["name"] == name


def test_a_table_with_other_names_from_the_command_line(tmp_path: Path) -> None:
    clip = make_clip(tmp_path, "tiny.mp4")
    for name in ("A1_1", "A1_2", "B1_1"):
        shutil.copy(clip, tmp_path / f"{name}.mp4")
    (tmp_path / "scores.csv").write_text("name,MOS,part\nA1_1,3,train\nA1_2,4,train\nB1_1,2,test\n")
    manifest = load_manifest(
        data(
            "data=manifest", f"data.manifest={tmp_path / 'scores.csv'}", "data.columns.mos=MOS",
            'data.columns.video="{name}.mp4"', "data.columns.split=part",
            r'data.group_regex="^([A-Z]\d+)_"',
        )
    )  # fmt: skip
    assert [(r.video, r.mos, r.split, r.group) for r in manifest.rows] == [
        ("A1_1.mp4", 3, "train", "A1"), ("A1_2.mp4", 4, "train", "A1"),
        ("B1_1.mp4", 2, "test", "B1"),
    ]  # fmt: skip


# ---------------------------------------------------------------- python -m distill.datasets


def test_the_manifest_that_is_written_is_the_one_that_a_command_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = fake_kvq(tmp_path / "KVQ", missing="val/2")
    out = tmp_path / "kvq.parquet"
    assert run(["kvq", "--root", str(root), "--out", str(out)]) == 1  # one missing, sizes differ
    said = capsys.readouterr().out
    assert "train: 14 rows, published 2926  <- differs" in said
    assert "val: 13 videos of 2 contents, mos 1.143 to 3.000" in said
    assert "left out: 1" in said and "'val/0002.mp4': no such video" in said
    direct = load_manifest(data("data=kvq", f"data.root={root}")).rows
    written = read_manifest(out, root).rows
    assert written == [
        type(row)(**{**vars(row), "line": again.line})
        for row, again in zip(direct, written, strict=True)
    ]


@pytest.mark.parametrize("folder", ["kvq, my=1", "it's", "plain"])
def test_the_words_that_are_printed_can_be_typed(
    tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = fake_kvq(tmp_path / folder)
    out = tmp_path / folder / "out, 1.csv"
    run(["kvq", "--root", str(root), "--out", str(out)])
    printed = capsys.readouterr().out.splitlines()[-1].split("; ")[-1]
    given = data(*shlex.split(printed))
    assert (given.manifest, given.root) == (str(out), str(root))
    assert len(load_manifest(given).rows) == 42


def test_where_the_manifest_may_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fake_kvq(tmp_path / "KVQ")
    monkeypatch.setenv("HOME", str(tmp_path))
    run(["kvq", "--root", "~/KVQ", "--out", "~/here.csv"])
    assert len(read_manifest(tmp_path / "here.csv", root).rows) == 42
    labels = root / "train_data.csv"
    before = labels.read_bytes()
    (tmp_path / "link.csv").symlink_to(labels)
    for out in (labels, tmp_path / "link.csv"):
        with pytest.raises(ConfigError, match="is the label file itself"):
            run(["kvq", "--root", str(root), "--out", str(out)])
    assert labels.read_bytes() == before
    with pytest.raises(ConfigError, match=r"here\.xlsx: name a \.csv, \.tsv, \.parquet file"):
        run(["kvq", "--root", str(root), "--out", str(tmp_path / "here.xlsx")])


def test_a_pipe_that_is_closed_is_no_traceback(tmp_path: Path) -> None:
    root, out = fake_kvq(tmp_path / "KVQ", missing="train/5"), tmp_path / "out.csv"
    words = [
        sys.executable,
        "-m",
        "distill.datasets",
        "kvq",
        "--root",
        str(root),
        "--out",
        str(out),
    ]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(writing)
    assert done.returncode == 128 + signal.SIGPIPE and "Error" not in done.stderr
    assert len(read_manifest(out, root).rows) == 41


def test_folders_that_are_no_utf_8_are_left_out_and_told(tmp_path: Path) -> None:
    root, out = fake_kvq(tmp_path / "KVQ"), tmp_path / "out.csv"
    odd = root / os.fsdecode(b"\xff")
    odd.mkdir()
    (root / "val_video").rename(odd / "val")
    words = [
        sys.executable,
        "-m",
        "distill.datasets",
        "kvq",
        "--root",
        str(root),
        "--out",
        str(out),
    ]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and "Error" not in done.stderr
    assert r"\udcff/val/0001.mp4 below" in done.stdout and "is no UTF-8; rename it" in done.stdout
    assert len(read_manifest(out, root).rows) == 28


def test_exit_codes(tmp_path: Path) -> None:
    lines = [f"Test01_{s}_D{d:02d}.avi" for s in ("City", "Traffic", "x") for d in range(1, 79)]
    for line in lines:
        (tmp_path / line).touch()
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{line}, 1, 1, 50\n" for line in lines))
    assert run(["cvd2014", "--root", str(tmp_path)]) == 0
    (tmp_path / lines[0]).unlink()
    assert run(["cvd2014", "--root", str(tmp_path)]) == 1
    with pytest.raises(ConfigError, match="write NAME=VALUE"):
        run(["cvd2014", "--root", str(tmp_path), "--option", "x"])
    with pytest.raises(ConfigError, match=r"data\.options\.x: CVD2014 has no options"):
        run(["cvd2014", "--root", str(tmp_path), "--option", "x=1"])
    with pytest.raises(ConfigError, match="cannot be written"):
        run(["cvd2014", "--root", str(tmp_path), "--out", str(tmp_path / "no/where.csv")])
    done = subprocess.run(
        [sys.executable, "-m", "distill.datasets", "kvq", "--root", str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stdout == ""
    assert "no labels of KVQ" in done.stderr and done.stderr.count("\n") == 1
