"""What label files look like on real disks, and what is refused instead of guessed."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from distill.data.adapters import find_adapter, read_labels, read_published, sizes
from distill.data.published import Record
from distill.errors import ConfigError, ManifestError


def write(folder: Path, **files: str) -> Path:
    """Files by name; ``__`` stands for the dot."""
    for name, text in files.items():
        path = folder / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def read(name: str, source: Path, **options: Any) -> dict[str, Record]:
    records, _ = read_labels(find_adapter(name), source, options)
    return {record.video: record for record in records}


def touch(root: Path, *videos: str) -> Path:
    for video in videos:
        (root / video).parent.mkdir(parents=True, exist_ok=True)
        (root / video).touch()
    return root


def refused(name: str, source: Path, **options: Any) -> str:
    with pytest.raises((ManifestError, ConfigError)) as caught:
        read(name, source, **options)
    return str(caught.value)


# ---------------------------------------------------------------- KVQ


def test_kvq_txt_with_class_and_distortion_labels(tmp_path: Path) -> None:
    """A file for each split; names with and without the split's folder."""
    write(
        tmp_path,
        train_split_v4_revise66_compete__txt="train/0007.mp4,3,0,3.5\ntrain/0008.mp4,3,1,2.5\n",
        val_split_v4_revise66_compete__txt="0008.mp4, 1, 2, 4.0\n",
    )
    records = read("kvq", tmp_path)
    assert {v: (r.mos, r.split, r.group) for v, r in records.items()} == {
        "train/0007.mp4": (3.5, "train", "train/0001"),
        "train/0008.mp4": (2.5, "train", "train/0008"),
        "val/0008.mp4": (4.0, "val", "val/0008"),
    }


def test_kvq_metadata_gives_the_scores_that_the_challenge_held_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(
        tmp_path,
        test_data__csv="filename,score\ntest/0001.mp4,\ntest/0002.mp4,\n",
        KVQ_metadata__csv="vid,mos,width\ntest_video/0001,3.25,1080\n",
    )
    with caplog.at_level("WARNING"):
        records = read("kvq", tmp_path)
    assert records["test/0001.mp4"].mos == 3.25 and math.isnan(records["test/0002.mp4"].mos)
    assert "KVQ_metadata.csv; the organisers have not confirmed them" in caplog.text


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("train_data.csv", "filename,score\ntrain/0001.mp4,5.5\n", "lie between 1 and 5"),
        ("train_data.csv", "filename,score\ntrain/0001.mp4,-1\n", "lie between 1 and 5"),
        ("train_data.csv", "filename,score\ntrain/0001.mp4,x\n", "score 'x' is not a number"),
        ("train_data.csv", "filename,score\ntrain/0001.mp4,3_0\n", "score '3_0' is not a number"),
        (
            "train_data.csv",
            "filename;score\ntrain/0001.mp4;3,5\n",
            "line 1: one column, 'filename;score'; separate cells with commas, or with tabs in a"
            " .tsv, and write 3.5, not 3,5",
        ),
        ("train_data.csv", "filename,score\ntrain/2927.mp4,3\n", "train has no video 2927"),
        ("train_data.csv", "filename,score\nval/0001.mp4,3\n", "in the labels of train"),
        ("train_data.csv", "filename,score\ntraining/0001.mp4,3\n", "is no video of KVQ"),
        ("scores.csv", "filename,score\n0001.mp4,3\n", "could be of train, val or test"),
        ("train_data.csv", "name,rating\ntrain/0001.mp4,3\n", "neither `filename,score` nor"),
        (
            "train_data.csv",
            "filename,score\ntrain/0001.mp4,3\ntrain/0001.mp4,4\n",
            "has mos 4, but 3 in {folder}/train_data.csv, line 2",
        ),
    ],
)
def test_kvq_refuses(tmp_path: Path, file: str, text: str, message: str) -> None:
    (tmp_path / file).write_text(text)
    said = refused("kvq", tmp_path / file)
    assert message.format(folder=tmp_path) in said and file in said


def test_two_files_that_disagree_are_named(tmp_path: Path) -> None:
    write(
        tmp_path,
        train_data__csv="filename,score\ntrain/0001.mp4,3\n",
        KVQ_metadata__csv="vid,mos\ntrain_video/0001,3.5\n",
    )
    said = refused("kvq", tmp_path)
    assert "KVQ_metadata.csv, line 2: 'train/0001.mp4' has mos 3.5, but 3 in" in said


def test_an_equal_row_is_used_once_and_told(tmp_path: Path) -> None:
    write(tmp_path, train_data__csv="filename,score\ntrain/0001.mp4,3\ntrain/0001.mp4,3\n")
    records, problems = read_labels(find_adapter("kvq"), tmp_path, {})
    assert len(records) == 1 and problems[0].reason == "the same row as line 2; used once"


# ---------------------------------------------------------------- the others


def test_lsvq_of_its_authors(tmp_path: Path) -> None:
    text = "name,mos,is_test\nia-batch1/a.mov,50,False\nyfcc-batch2/12,60,True\n"
    write(tmp_path, labels_train_test__csv=text, labels_1080p__txt="backup2/b13.mp4,-1,-1,70\n")
    records = read("lsvq", tmp_path)
    assert {v: (r.mos, r.split) for v, r in records.items()} == {
        "ia-batch1/a.mov.mp4": (50, "train"), "yfcc-batch2/12.mp4": (60, "test"),
    }  # fmt: skip
    hd = read("lsvq", tmp_path, part="1080p")
    assert {v: (r.mos, r.split, r.part) for v, r in hd.items()} == {
        "backup2/b13.mp4": (70, "test", "1080p")
    }
    assert "which part of LSVQ" in refused(
        "lsvq", write(tmp_path, x__csv="name,mos\na,1\n") / "x.csv"
    )
    assert "did you mean 1080p" in refused("lsvq", tmp_path, part="1080")


def test_lsvq_takes_each_part_from_one_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Authors drop different videos: a union would be a set that nobody published."""
    write(
        tmp_path,
        LSVQ_whole_test__csv="name,mos\nia-batch1/a,50\n",
        labels_test__txt="ia-batch1/a.mp4,-1,-1,50\nia-batch1/b.mp4,-1,-1,60\n",
        train_labels__txt="ia-batch1/c.mp4,-1,-1,40\n",
    )
    with caplog.at_level("INFO"):
        records = read("lsvq", tmp_path)
    assert set(records) == {"ia-batch1/a.mp4", "ia-batch1/c.mp4"}
    assert "labels_test.txt is not read; LSVQ_whole_test.csv has these labels" in caplog.text


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("KoNViD_1k_attributes.csv", "flickr_id,title,file_name,MOS\n12,x,12_o.mp4,3.5\n"),
        ("KoNViD_1k_mos.csv", '"flickr_id","mos"\n12,3.5\n'),
        ("labels.txt", "KoNViD_1k_videos/12.mp4, 8.0, 25.0, 3.5\n"),
        ("labels.txt", "12_original_centercrop_960x540_8s.mp4, 8.0, 25.0, 3.5\n"),
    ],
)
def test_konvid(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / "KoNViD_1k_metadata").mkdir()
    (tmp_path / "KoNViD_1k_metadata" / file).write_text(text)
    assert {v: r.mos for v, r in read("konvid_1k", tmp_path).items()} == {"12.mp4": 3.5}


def test_a_second_label_file_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, KoNViD_1k_mos__csv="flickr_id,mos\n1,3\n", labels__txt="2.mp4,8,25,4\n")
    with caplog.at_level("INFO"):
        assert set(read("konvid_1k", tmp_path)) == {"1.mp4"}
    assert "labels from KoNViD_1k_mos.csv; not read: labels.txt" in caplog.text


def test_live_vqc_mat(tmp_path: Path) -> None:
    names = np.array([["A001.mp4"], ["A012.mp4"]], dtype=object)
    savemat(tmp_path / "data.mat", {"video_list": names, "mos": np.array([[80.232], [47.7826]])})
    records = read("live_vqc", tmp_path)
    assert {v: r.mos for v, r in records.items()} == {"A001.mp4": 80.232, "A012.mp4": 47.7826}
    savemat(tmp_path / "data.mat", {"scores": np.array([1.0])})
    assert "no LIVE-VQC labels" in refused("live_vqc", tmp_path)
    (tmp_path / "data.mat").write_bytes(b"no mat")
    assert "no LIVE-VQC labels" in refused("live_vqc", tmp_path)


def test_cvd2014_of_its_authors(tmp_path: Path) -> None:
    text = "File_name;Content;Realignment MOS\nTest01_City_D01;City;45,91\n;;\n"
    write(tmp_path, Realignment_MOS__csv=text)
    (record,) = read("cvd2014", tmp_path).values()
    assert (record.video, record.mos, record.group) == ("Test01_City_D01.avi", 45.91, "city")


def test_vdpve_has_no_labels_for_what_was_never_released(tmp_path: Path) -> None:
    write(
        tmp_path,
        train__txt="A0023_01.mp4,43.9\nB0001_02.mp4,50\n",
        test_labels__txt="0001.mp4,-1,-1,0.16\n",
        val_ol_labels__txt="0001.mp4,-1,-1,-1\n",
    )
    records = read("vdpve", tmp_path)
    assert records["train/A0023_01.mp4"].mos == 43.9
    assert records["train/A0023_01.mp4"].group == "A0023"
    for video in ("test/0001.mp4", "val/0001.mp4"):
        assert math.isnan(records[video].mos) and "never released" in records[video].why
    write(tmp_path, train__txt="A0023_01.mp4,-1\n")
    assert "mos -1, but train has labels" in refused("vdpve", tmp_path)


def test_finevd_dimensions(tmp_path: Path) -> None:
    write(
        tmp_path,
        FINEVD_metadata__csv="vid,mos\n0_00,50\n",
        FINEVD_MOS_noise_metadata__csv="vid,mos\n0_00,-8.5\n",
    )
    assert read("finevd", tmp_path)["0_00.mp4"].mos == 50
    assert read("finevd", tmp_path, dimension="noise")["0_00.mp4"].mos == -8.5
    assert "did you mean noise" in refused("finevd", tmp_path, dimension="nois")
    file = tmp_path / "FINEVD_metadata.csv"
    assert "dimension=noise are in FINEVD_MOS_noise_metadata.csv" in refused(
        "finevd", file, dimension="noise"
    )


def test_label_txt(tmp_path: Path) -> None:
    write(tmp_path, any__txt="\ufeffa/one, two.mp4, -1, -1, 3.5\n\nb.mkv,10,25.0,-1\n")
    records = read("label_txt", tmp_path / "any.txt", split="test")
    assert {v: (r.mos, r.split) for v, r in records.items()} == {
        "a/one, two.mp4": (3.5, "test"), "b.mkv": (-1, "test"),
    }  # fmt: skip
    assert "data.labels=FILE.txt" in refused("label_txt", tmp_path)
    write(tmp_path, any__txt="a.mp4 3.5\n")
    assert "any.txt, line 1: 'a.mp4 3.5' is neither" in refused("label_txt", tmp_path / "any.txt")


# ---------------------------------------------------------------- for all of them


@pytest.mark.parametrize(
    "name", "kvq lsvq konvid_1k live_vqc youtube_ugc cvd2014 vdpve finevd".split()
)
def test_a_folder_without_labels_says_what_was_looked_for(tmp_path: Path, name: str) -> None:
    said = refused(name, tmp_path)
    assert str(tmp_path) in said and "looked for" in said and "data.labels=" in said
    assert "no such file or folder" in refused(name, tmp_path / "gone")
    assert "data.options.colour" in refused(name, tmp_path, colour=1)


def test_two_label_files_of_one_name(tmp_path: Path) -> None:
    for folder, score in (("a", 3), ("b", 3)):
        write(tmp_path / folder, train_data__csv=f"filename,score\ntrain/0001.mp4,{score}\n")
    assert len(read("kvq", tmp_path)) == 1  # a copy
    write(tmp_path / "b", train_data__csv="filename,score\ntrain/0001.mp4,4\n")
    assert "two label files" in refused("kvq", tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "__main__", "..config", ""])
def test_no_such_adapter(name: str) -> None:
    with pytest.raises(ConfigError, match="no adapter in distill/datasets"):
        find_adapter(name)


# ---------------------------------------------------------------- manifests


def test_missing_videos_are_problems_and_the_size_is_held_against_the_published(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "filename,score\n" + "".join(f"train/{i:04d}.mp4,3\n" for i in range(1, 9))
    write(tmp_path, train_data__csv=text)
    touch(tmp_path, "train/0001.mp4", "train/0008.mp4")
    manifest = read_published("kvq", tmp_path)
    assert [(r.video, r.group, r.split) for r in manifest.rows] == [
        ("train/0001.mp4", "train/0001", "train"), ("train/0008.mp4", "train/0008", "train"),
    ]  # fmt: skip
    assert [p.line for p in manifest.problems] == [3, 4, 5, 6, 7, 8]
    assert str(manifest.problems[0]) == (
        f"{tmp_path}/train_data.csv, line 3: 'train/0002.mp4': no such video below {tmp_path}"
    )
    assert "KVQ, train: 8 rows, published 2926" in caplog.text


def test_none_of_the_videos(tmp_path: Path) -> None:
    write(tmp_path / "labels", train_data__csv="filename,score\ntrain/0001.mp4,3\n")
    root = touch(tmp_path / "videos", "other/cat.mp4")
    with pytest.raises(ManifestError) as caught:
        read_published("kvq", root, tmp_path / "labels")
    said = str(caught.value)
    assert f"{root}/train/0001.mp4 and {root}/**/0001.mp4" in said
    assert "it has 1 videos, for example other/cat.mp4" in said and "data.root=FOLDER" in said
    with pytest.raises(ManifestError, match=r"data\.root=.*gone: no such folder"):
        read_published("kvq", tmp_path / "gone", tmp_path / "labels")


def test_videos_that_are_there_and_cannot_be_used_are_not_called_missing(tmp_path: Path) -> None:
    write(tmp_path, train_data__csv="filename,score\ntrain/0001.mp4,3\n")
    write(tmp_path, val_data__csv="filename,score\nval/0001.mp4,3\n")
    touch(tmp_path, "0001.mp4")
    with pytest.raises(ManifestError, match=r"none of KVQ's 2 videos can be used; .*put it into"):
        read_published("kvq", tmp_path)


def test_label_files_behind_a_link_are_found(tmp_path: Path) -> None:
    write(tmp_path / "disk/deep", train_data__csv="filename,score\ntrain/0001.mp4,3\n")
    touch(tmp_path / "disk", "train/0001.mp4")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/KVQ").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/loop").symlink_to(tmp_path / "disk")
    manifest = read_published("kvq", tmp_path / "root")
    assert [row.video for row in manifest.rows] == ["KVQ/train/0001.mp4"]


def test_held_out_videos_without_a_score_never_become_the_pool(tmp_path: Path) -> None:
    write(
        tmp_path,
        train_data__csv="filename,score\ntrain/0001.mp4,3\ntrain/0002.mp4,\n",
        test_data__csv="filename,score\ntest/0001.mp4,\n",
    )
    touch(tmp_path, "train/0001.mp4", "train/0002.mp4", "test/0001.mp4")
    manifest = read_published("kvq", tmp_path)
    assert {r.video: r.split for r in manifest.rows} == {
        "train/0001.mp4": "train", "train/0002.mp4": "pool",
    }  # fmt: skip
    (problem,) = manifest.problems
    assert problem.video == "test/0001.mp4" and "KVQ_metadata.csv has one" in problem.reason


def test_sets_without_an_official_split_are_split_by_content(tmp_path: Path) -> None:
    lines = [f"Test0{t}_{s}_D{d:02d}.avi" for t in (1, 2) for s in ("City", "Traffic", "Newspaper")
             for d in (1, 2, 3)]  # fmt: skip
    write(tmp_path, labels__txt="".join(f"x/{line}, 1, 1, 50\n" for line in lines))
    touch(tmp_path / "CVD-I", *lines)
    manifest = read_published("cvd2014", tmp_path)
    by_split = {s: {r.group for r in manifest.split(s)} for s in ("train", "val", "test")}
    assert sorted(map(len, by_split.values())) == [1, 1, 1]
    whole = manifest.as_split("test")
    assert len(whole.split("test")) == 18 and not whole.split("train")


@pytest.mark.parametrize("unscored", [0, 7])
def test_a_split_depends_on_the_labels_alone(tmp_path: Path, unscored: int) -> None:
    """Neither the folder that is named as the root nor a video more or less moves another one."""
    names = [f"0_{i:02d}" for i in range(60)]
    scores = ["" if i < unscored else "50" for i in range(60)]
    rows = "".join(f"{name},{mos}\n" for name, mos in zip(names, scores, strict=True))
    labels = write(tmp_path / "labels", FINEVD_metadata__csv=f"vid,mos\n{rows}")

    def split(root: Path) -> dict[str, str]:
        rows = read_published("finevd", root, labels).rows
        return {row.path.name: f"{row.split} {row.group}" for row in rows}

    whole = split(touch(tmp_path / "whole", *(f"videos/a/{name}.mp4" for name in names)))
    assert Counter(kind.split()[0] for kind in whole.values())["test"] == round(
        0.15 * (60 - unscored)
    )
    assert split(tmp_path / "whole/videos") == split(tmp_path / "whole/videos/a") == whole
    for count in (1, 5, 23):
        part = touch(tmp_path / f"part{count}", *(f"x/{name}.mkv" for name in names[-count:]))
        assert split(part) == {
            f"{name}.mkv": whole[f"{name}.mp4"] for name in names[-count:] if f"{name}.mp4" in whole
        }


def test_sizes_name_both_numbers() -> None:
    module = find_adapter("lsvq")
    records = [Record(Path("f"), i, str(i), part="test") for i in range(7200)]
    (size,) = sizes(module.PUBLISHED, records)
    assert (
        size.agrees
        and str(size) == "test: 7200 rows, 7200 of them without a score, published 7182 to 7220"
    )
    (size,) = sizes(module.PUBLISHED, records[:7181])
    assert not size.agrees
