"""Every label file of ../shared/labels: sizes, rows read by eye, and who agrees with whom.

The independent side of each check is the csv module, a published number, or a row that was looked
up in the file.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.data.adapters import find_adapter, read_labels, sizes
from distill.data.published import Record
from distill.datasets import finevd

# Adapter, folder, options: published labels by part, as ../shared/labels/README.md has them.
SETS: dict[str, tuple[str, str, dict[str, Any], dict[str, int]]] = {
    "kvq": ("kvq", "kvq", {}, {"train": 2926, "val": 420, "test": 854}),
    "lsvq": ("lsvq", "lsvq", {}, {"train": 28056, "test": 7220}),
    "lsvq_1080p": ("lsvq", "lsvq", {"part": "1080p"}, {"1080p": 3561}),
    "konvid_1k": ("konvid_1k", "konvid_1k", {}, {"all": 1200}),
    "live_vqc": ("live_vqc", "live_vqc", {}, {"all": 585}),
    "youtube_ugc": ("youtube_ugc", "youtube_ugc", {}, {"all": 1380}),
    "cvd2014": ("cvd2014", "cvd2014", {}, {"all": 234}),
    "vdpve": ("vdpve", "vdpve", {}, {"training": 839, "validation": 119, "test": 253}),
    "finevd": ("finevd", "finevd", {}, {"all": 5074}),
}


def read(shared: Path, name: str, file: str = "", **options: Any) -> dict[str, Record]:
    adapter, folder, given, _ = SETS[name]
    source = shared / "labels" / folder / file
    records, problems = read_labels(find_adapter(adapter), source, {**given, **options})
    assert problems == []
    return {record.video: record for record in records}


def scores(records: dict[str, Record]) -> dict[str, float]:
    return {name: record.mos for name, record in records.items()}


@pytest.mark.parametrize("name", SETS)
def test_counts_are_the_published_ones(shared_dir: Path, name: str) -> None:
    records = read(shared_dir, name)
    published = find_adapter(SETS[name][0]).PUBLISHED
    found = {size.part: size for size in sizes(published, list(records.values()))}
    assert {part: size.rows for part, size in found.items()} == SETS[name][3]
    assert all(size.agrees for size in found.values())


@pytest.mark.parametrize(
    ("name", "file", "rows"),
    [
        ("kvq", "train_data.csv", {"train/0001.mp4": 3.361111111, "train/1463.mp4": 2.638888889,
                                   "train/2926.mp4": 1.527777778}),
        ("kvq", "KVQ_metadata.csv", {"train/0001.mp4": 3.361111111, "val/0074.mp4": 3.472222222,
                                     "test/0854.mp4": 3.805555556}),
        ("lsvq", "train_labels.txt", {
            "yfcc-batch1/725.mp4": 76.84375, "ia-batch1/youtube-HVsUxgXfotE.mp4": 76.9375,
            "ia-batch24/MikeBrownStrongArmRobberySurveillanceVideoTapeFull.mp4": 43.5135135135135}),
        ("lsvq", "labels_test.txt", {
            "yfcc-batch1/747.mp4": 67.75, "ia-batch1/youtube-DJ6pTWP5KDs.mp4": 73.96428571428571,
            "ia-batch4/Concert_In_the_Kitchen_February_24_2012.mp4": 64.85294117647061}),
        ("lsvq", "LSVQ_whole_test.csv", {
            "yfcc-batch1/747.mp4": 67.75, "ia-batch1/punkcast1075.mp4": 54.0625,
            "ia-batch24/lionking-tas-tompa.mp4": 41.075}),
        ("lsvq_1080p", "labels_1080p.txt", {
            "yfcc-batch1/722.mp4": 78.7741935483871, "yfcc-batch15/11628.mp4": 68.5555555555556,
            "ia-batch24/youtube-_wgGiVhoD6s.mp4": 50.046511627907}),
        ("lsvq_1080p", "LSVQ_whole_test_1080p.csv", {
            "yfcc-batch1/722.mp4": 78.7741935483871, "yfcc-batch15/11628.mp4": 68.5555555555556,
            "ia-batch24/youtube-_wgGiVhoD6s.mp4": 50.046511627907}),
        ("konvid_1k", "labels.txt", {"4542323058.mp4": 3.22, "6210381577.mp4": 3.22,
                                     "10404182556.mp4": 2.32}),
        ("konvid_1k", "KONVID_1K_metadata.csv", {"3339962845.mp4": 4.64, "8056761129.mp4": 3.12,
                                                 "8536919744.mp4": 1.22}),
        ("live_vqc", "labels.txt", {"A001.mp4": 80.232, "R001.mp4": 72.4848}),
        ("live_vqc", "LIVE_VQC_metadata.csv", {"A012.mp4": 47.7826, "B190.mp4": 72.1381}),
        ("youtube_ugc", "labels.txt", {"Sports_2160P-4e9f.mp4": 4.405,
                                       "Gaming_2160P-673d.mp4": 4.165}),
        ("youtube_ugc", "YOUTUBE_UGC_metadata.csv", {
            "Animation_1080P-01b3.mp4": 3.649, "LyricVideo_720P-09ed.mp4": 3.026,
            "Vlog_720P-7b30.mp4": 3.7}),
        ("cvd2014", "labels.txt", {"Test03_City_D12.avi": 20.65, "Test02_City_D08.avi": 36.88,
                                   "Test02_Traffic_D09.avi": 64.3, "Test04_City_D06.avi": -6.5}),
        ("vdpve", "train_labels.txt", {
            "train/A0023_01.mp4": 43.9215071773589, "train/B0040_04.mp4": 41.7128857614028,
            "train/C0004_05.mp4": 42.4222793732796}),
        ("vdpve", "val_offline_labels.txt", {"train/A0038_01.mp4": 70.7983029928863,
                                             "train/B0039_02.mp4": 55.7208217480376}),
        ("finevd", "FINEVD_metadata.csv", {"0_00_00_1357553287.mp4": 56.445,
                                           "1_23_05_1728505192.mp4": 54.7786}),
    ],
)  # fmt: skip
def test_known_rows(shared_dir: Path, name: str, file: str, rows: dict[str, float]) -> None:
    records = read(shared_dir, name, file)
    assert {video: records[video].mos for video in rows} == rows


def test_known_rows_of_finevd_by_dimension(shared_dir: Path) -> None:
    row = "0_17_06_1611896145-yase.mp4"
    assert read(shared_dir, "finevd", dimension="noise")[row].mos == 56.4923
    last = {d: read(shared_dir, "finevd", dimension=d)["1_23_05_1728499793.mp4"].mos
            for d in finevd.DIMENSIONS}  # fmt: skip
    assert last == {
        "overall": 47.8388, "artifact": 49.0525, "noise": 56.6614, "temporal": 50.1029,
        "color": 56.1719, "blur": 42.4604,
    }  # fmt: skip


# ---------------------------------------------------------------- KVQ


def kvq_groups(records: dict[str, Record], split: str) -> np.ndarray:
    """MOS by group and position, (groups, 7), groups as the adapter names them."""
    groups: dict[str, list[float]] = {}
    for video in sorted(v for v in records if v.startswith(split)):
        groups.setdefault(records[video].group, []).append(records[video].mos)
    return np.array(list(groups.values()))


def test_kvq_statistics_of_the_field(shared_dir: Path) -> None:
    """FIELD.md 2. Within-group spread is the check of the groups: any other cut makes it larger."""
    train = kvq_groups(read(shared_dir, "kvq", "train_data.csv"), "train")
    assert train.shape == (418, 7)
    flat = train.ravel()
    assert (round(flat.mean(), 3), round(flat.std(), 3)) == (3.223, 0.555)
    assert (round(flat.min(), 3), flat.max()) == (1.306, 4.5)
    by_position = [3.474, 3.488, 3.451, 3.363, 3.226, 2.972, 2.590]
    assert np.round(train.mean(axis=0), 3).tolist() == by_position
    within = train.std(axis=1).mean()
    assert round(within, 3) == 0.331 and round(train.mean(axis=1).std(), 3) == 0.427
    for shift in range(1, 7):
        cut = flat[shift : shift + 417 * 7].reshape(417, 7)
        assert cut.std(axis=1).mean() > within + 0.03


@pytest.mark.parametrize(("split", "groups"), [("val", 60), ("test", 122)])
def test_kvq_val_and_test_of_the_metadata_look_like_kvq(
    shared_dir: Path, split: str, groups: int
) -> None:
    """Not checked by the organisers, but grouped and ordered as train is."""
    values = kvq_groups(read(shared_dir, "kvq", "KVQ_metadata.csv"), split)
    assert values.shape == (groups, 7)
    assert 0.33 < values.std(axis=1).mean() < 0.34
    means = values.mean(axis=0)
    assert list(means[1:]) == sorted(means[1:], reverse=True) and 2.49 < means[-1] < 2.56
    assert np.mean(np.abs(values * 36 - np.round(values * 36)) < 1e-4) > 0.97  # of 18 raters


def test_kvq_versions_of_a_group_have_one_size(shared_dir: Path) -> None:
    """By the frame sizes of the metadata, which the adapter does not read."""
    records = read(shared_dir, "kvq", "KVQ_metadata.csv")
    seen: dict[str, set[tuple[str, str]]] = {}
    with (shared_dir / "labels/kvq/KVQ_metadata.csv").open() as file:
        for row in csv.DictReader(file):
            video = f"{row['vid'].replace('_video', '')}.mp4"
            seen.setdefault(records[video].group, set()).add((row["width"], row["height"]))
    assert len(seen) == 600 and sum(len(found) == 1 for found in seen.values()) == 598


def test_kvq_test_names_have_no_scores(shared_dir: Path) -> None:
    test = read(shared_dir, "kvq", "test_data.csv")
    (size,) = sizes(find_adapter("kvq").PUBLISHED, list(test.values()))
    assert str(size) == "test: 854 rows, 854 of them without a score, published 854"
    assert len(test) == 854 and all(math.isnan(record.mos) for record in test.values())
    assert all("was not released" in record.why for record in test.values())


# ---------------------------------------------------------------- two sources of one set


@pytest.mark.parametrize(
    ("name", "first", "second", "only_first", "only_second"),
    [
        ("kvq", "train_data.csv", "KVQ_metadata.csv", 0, 1274),
        ("konvid_1k", "KONVID_1K_metadata.csv", "labels.txt", 0, 0),
        ("live_vqc", "LIVE_VQC_metadata.csv", "labels.txt", 0, 0),
        ("youtube_ugc", "YOUTUBE_UGC_metadata.csv", "labels.txt", 233, 0),
        ("lsvq", "LSVQ_whole_test.csv", "labels_test.txt", 46, 12),
        ("lsvq_1080p", "LSVQ_whole_test_1080p.csv", "labels_1080p.txt", 0, 12),
    ],
)
def test_two_sources_agree(
    shared_dir: Path, name: str, first: str, second: str, only_first: int, only_second: int
) -> None:
    a, b = (scores(read(shared_dir, name, file)) for file in (first, second))
    both = a.keys() & b.keys()
    assert (len(a) - len(both), len(b) - len(both)) == (only_first, only_second)
    # Equal but for the last digit of a printed float.
    assert {v: a[v] for v in both} == pytest.approx({v: b[v] for v in both}, rel=1e-12)


def test_konvid_metadata_is_sorted_by_mos_and_keeps_its_rows_together(shared_dir: Path) -> None:
    """Its order looks as if the columns had been sorted apart; frame rates say they were not."""
    with (shared_dir / "labels/konvid_1k/KONVID_1K_metadata.csv").open() as file:
        rows = list(csv.DictReader(file))
    mos = [float(row["mos"]) for row in rows]
    assert mos == sorted(mos, reverse=True)
    lines = (shared_dir / "labels/konvid_1k/labels.txt").read_text().splitlines()
    rates = {line.split("/")[1].split(".")[0]: float(line.split(",")[2]) for line in lines}
    assert all(abs(float(row["framerate"]) - rates[row["flickr_id"]]) < 0.05 for row in rows)


def test_lsvq_names_that_stand_in_two_batches(shared_dir: Path) -> None:
    """One archived item, scored twice: 96 of them stand in train and in the official test."""
    everything: list[tuple[str, Record]] = []
    for name, file in (("lsvq", "train_labels.txt"), ("lsvq", "labels_test.txt"),
                       ("lsvq_1080p", "labels_1080p.txt")):  # fmt: skip
        everything += read(shared_dir, name, file).items()
    by_name: dict[str, list[Record]] = {}
    for video, record in everything:
        by_name.setdefault(video.split("/")[1], []).append(record)
    pairs = [records for records in by_name.values() if len(records) > 1]
    assert [len(pair) for pair in pairs] == [2] * 341
    assert sum(a.split != b.split for a, b in pairs) == 96
    assert sum(a.mos == b.mos for a, b in pairs) == 0
    assert all((a.group == b.group) == (a.part == b.part) for a, b in pairs)


# ---------------------------------------------------------------- groups, splits, spreads


def split_counts(records: Sequence[Record]) -> dict[str, int]:
    return {s: sum(r.split == s for r in records) for s in sorted({r.split for r in records})}


def test_vdpve(shared_dir: Path) -> None:
    records = list(read(shared_dir, "vdpve").values())
    assert split_counts(records) == {"test": 253, "train": 728, "val": 230}
    labelled = [r for r in records if not math.isnan(r.mos)]
    assert split_counts(labelled) == {"train": 728, "val": 111}
    groups = {s: {r.group for r in labelled if r.split == s} for s in ("train", "val")}
    assert (len(groups["train"]), len(groups["val"])) == (111, 17)
    assert not groups["train"] & groups["val"] and "A0023" in groups["train"]
    kinds = [sum(r.group.startswith(kind) for r in labelled) for kind in "ABC"]
    # The authors' README says 414 colour, 210 deblurred, 215 stabilised, and B is stabilised: its
    # letters or its numbers are the wrong way round.
    assert kinds == [414, 210, 215]


def test_cvd2014_contents_are_the_five_scenes(shared_dir: Path) -> None:
    records = read(shared_dir, "cvd2014").values()
    scenes = {"city": 78, "talking_head": 78, "newspaper": 27, "television": 32, "traffic": 19}
    assert {s: sum(r.group == s for r in records) for s in scenes} == scenes
    assert sum(scenes.values()) == 234


def test_youtube_ugc_has_the_spread_of_opinions(shared_dir: Path) -> None:
    records = read(shared_dir, "youtube_ugc")
    assert records["Animation_1080P-01b3.mp4"].mos_std == 0.468
    spreads = [record.mos_std for record in records.values()]
    assert (min(spreads), max(spreads)) == (0.347, 1.243)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("kvq", 1.305555556, 4.5), ("konvid_1k", 1.22, 4.64), ("live_vqc", 6.22368, 94.2865),
        ("youtube_ugc", 1.242, 4.698), ("cvd2014", -6.5, 93.38), ("finevd", 9.8171, 77.5886),
        ("vdpve", 19.890065119644, 84.4219160613643),
    ],
)  # fmt: skip
def test_ranges(shared_dir: Path, name: str, low: float, high: float) -> None:
    values = [r.mos for r in read(shared_dir, name).values() if not math.isnan(r.mos)]
    assert (min(values), max(values)) == (low, high)
