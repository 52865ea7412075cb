"""Where shots are cut, which split a content gets, which pairs are drawn, what looks compressed."""

import itertools
import random
from collections import Counter
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from distill.data.identity import content_hash
from distill.data.reader import VideoInfo
from distill.data.readers import make_reader
from distill.ladder.codecs import Step
from distill.ladder.ffmpeg import Ffmpeg
from distill.ladder.pairs import make_pairs
from distill.ladder.shots import LadderRow, Shot
from distill.ladder.sources import (
    Cut,
    Source,
    cut_shots,
    find_sources,
    group_of,
    not_pristine,
    split_groups,
)
from tests.helpers.video_files import X264, ffmpeg

READER = make_reader("pyav")
PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=160x128:rate=25:duration=0.2")


def source(number: int, group: str = "", split: str = "", duration: float = 10.0) -> Source:
    info = VideoInfo(int(duration * 25), 25.0, 640, 360, codec="h264", duration=duration)
    content = f"{random.Random(number).getrandbits(128):032x}"
    return Source(f"{number}.mp4", Path(__file__), 0, group, split, content, info)


@given(
    count=st.integers(0, 60),
    cuts=st.tuples(st.integers(0, 100), st.integers(0, 100)),
    held=st.integers(0, 5),
)
def test_splits_are_whole_and_of_the_size_asked_for(
    count: int, cuts: tuple[int, int], held: int
) -> None:
    low, high = sorted(cuts)
    shares = (low, high - low, 100 - high)
    table = [source(1000 + n, f"g{n}", "test") for n in range(held)]
    sources = [*(source(n) for n in range(count)), *table]
    splits = split_groups(sources, shares)
    assert splits.keys() == {group_of(found) for found in sources}
    assert all(splits[group_of(found)] == "test" for found in table)
    counts = Counter(splits[group_of(found)] for found in sources[:count])
    if count >= 3:
        for split, share in zip(("train", "val", "test"), shares, strict=True):
            # Within one of its share, but for the one that another share needs at least.
            assert abs(counts[split] - share / 100 * count) <= 2
            assert (counts[split] > 0) == (share > 0)
    elif low:
        assert counts["train"] == count
    # Names and order do not matter.
    assert split_groups(sources[::-1], shares) == splits


def test_groups_of_a_table_are_never_cut() -> None:
    sources = [source(n, group=f"g{n // 3}") for n in range(30)]
    assert len(split_groups(sources, (70, 15, 15))) == 10


@given(duration=st.floats(0.5, 100), seconds=st.floats(0.2, 8), shots=st.integers(1, 9))
def test_shots_lie_in_the_source_and_apart(duration: float, seconds: float, shots: int) -> None:
    duration = max(duration, seconds)
    found = cut_shots(source(1, duration=duration), Cut(seconds, shots, 540, None), READER, True)
    assert 1 <= len(found) <= shots
    assert len(found) == shots or (len(found) + 1) * seconds > duration - 1e-3
    starts = [shot.start for shot in found]
    assert starts[0] >= 0 and starts[-1] + seconds <= duration + 1e-3
    assert all(b - a >= seconds - 2e-3 for a, b in itertools.pairwise(starts))
    assert len({shot.name for shot in found}) == len(found)


def test_a_shot_is_never_enlarged_nor_given_more_frames() -> None:
    (small,) = cut_shots(source(1), Cut(2, 1, 540, 60), READER, True)
    (large,) = cut_shots(source(1), Cut(2, 1, 240, 12.5), READER, True)
    assert "540" not in small.filters and "min(iw,240)" in large.filters
    assert (small.fps, large.fps) == (25.0, 12.5)


def rows(shots: int, rng: random.Random) -> list[LadderRow]:
    return [
        LadderRow(f"{shot}_{v}.mp4", 100 * rng.random(), f"g{shot // 2}", f"s{shot}", "kind", "")
        for shot in range(shots)
        for v in range(7)
    ]


@given(st.integers(2, 40), st.integers(0, 1000), st.floats(0, 1))
def test_pairs_are_what_their_kind_says(shots: int, seed: int, margin: float) -> None:
    made = rows(shots, random.Random(seed))
    splits = {row.group: ("train", "test")[int(row.group[1:]) % 2] for row in made}
    by_name = {row.video: row for row in made}
    pairs = make_pairs(made, splits, (169, 231), margin, seed)
    assert pairs == make_pairs(made, splits, (169, 231), margin, seed)
    assert len({frozenset((p.video1, p.video2)) for p in pairs}) == len(pairs)
    for pair in pairs:
        one, other = by_name[pair.video1], by_name[pair.video2]
        assert splits[one.group] == splits[other.group] == pair.split
        assert (one.shot == other.shot) == (pair.kind == "source")
        assert (one.group == other.group) == (pair.kind == "source")
        ahead = (one.mos or 0) - (other.mos or 0)
        assert abs(ahead) > margin and (pair.rank == 1) == (ahead > 0)


def test_as_many_pairs_as_kvq_has_in_its_test_set() -> None:
    made = rows(244, random.Random(1))
    splits = {row.group: "test" for row in made}
    pairs = make_pairs(made, splits, (169, 231), 0.25, 0)
    assert Counter(pair.kind for pair in pairs) == {"source": 169, "nonsource": 231}
    assert 160 <= sum(pair.rank == 1 for pair in pairs) <= 240
    shots = Counter(p.video1.split("_")[0] for p in pairs if p.kind == "source")
    assert set(shots.values()) == {1}  # one pair of each shot before a second of any


def test_rows_without_labels_make_no_pairs() -> None:
    bare = [LadderRow(f"{n}.mp4", None, "g", "s", "kind", "") for n in range(7)]
    assert make_pairs(bare, {"g": "pool"}, (169, 231), 0, 0) == []


@pytest.mark.parametrize(
    ("codec", "rate", "doubted"),
    [("x264", 12, False), ("x264", 40, True), ("x265", 40, True), ("av1", 20, False)],
)
def test_a_compressed_source_is_doubted(
    tmp_path: Path, codec: str, rate: int, doubted: bool
) -> None:
    tool = Ffmpeg.find({codec})
    pristine, path, reference = (tmp_path / f"{name}.mp4" for name in ("p", "s", "r"))
    texture = "testsrc2=size=320x240:rate=25:duration=1,noise=alls=14:allf=t"
    ffmpeg("-f", "lavfi", "-i", texture, *X264, "-qp", "4", pristine)
    step: Step = (codec, "crf", rate)
    tool.encode_file(pristine, path, step)
    tool.encode_file(path, reference, ("x264", "crf", 13))
    found = Source("s.mp4", path, 0, "", "", content_hash(path), READER.probe(path))
    doubt = not_pristine(found, [Shot("s", path, "g", duration=1.0)], [reference])
    assert bool(doubt) == doubted
    assert not doubted or "bits per pixel" in doubt


def find(source: Path, out: Path) -> tuple[list[str], dict[str, str], list[str]]:
    """Names of the sources, reasons by name, and what is passed over."""
    sources, problems, passed = find_sources(source, out, READER, 0.1, 1, False)
    return [s.video for s in sources], {p.video: p.reason for p in problems}, passed


def test_what_a_ladder_made_is_no_source_by_whatever_way(tmp_path: Path) -> None:
    real = tmp_path / "real"
    out = real / "ladder"
    for folder in (out, real / "sub" / "older"):
        (folder / ".ladder").mkdir(parents=True)
        (folder / "videos").mkdir()
        (folder / "videos" / "made.mp4").write_text("made")
    ffmpeg(*PICTURE, *X264, real / "good.mp4")
    (real / "link.mp4").symlink_to(out / "videos" / "made.mp4")
    (tmp_path / "way").symlink_to(real)
    made = ["ladder/videos/made.mp4", "link.mp4", "sub/older/videos/made.mp4"]
    for source, to in [(real, out), (tmp_path / "way", out), (real, tmp_path / "way" / "ladder")]:
        assert find(source, to) == (["good.mp4"], {}, made)
    # Before the folder of this ladder is one, and where a list names the videos.
    (out / ".ladder").rmdir()
    (tmp_path / "list.txt").write_text("".join(f"way/{name}\n" for name in ["good.mp4", *made]))
    found, reasons, passed = find(tmp_path / "list.txt", out)
    assert (found, passed) == (["way/good.mp4"], [])
    assert list(reasons) == [f"way/{name}" for name in made]
    assert set(reasons.values()) == {
        "lies in a ladder's folder; its versions are no pristine videos"
    }


def test_every_kind_of_table_holds_its_groups_and_splits(tmp_path: Path) -> None:
    ffmpeg(*PICTURE, *X264, tmp_path / "a.mp4")
    rows = {"video": ["a.mp4"], "group": ["a group"], "split": ["test"]}
    parquet.write_table(pyarrow.table(rows), tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("video,group,split\na.mp4,a group,test\n")
    (tmp_path / "t.tsv").write_text("video\tgroup\tsplit\na.mp4\ta group\ttest\n")
    for table in ("t.parquet", "t.csv", "t.tsv"):
        (found,), _, _ = find_sources(tmp_path / table, tmp_path / "o", READER, 0.1, 1, False)
        assert (found.group, found.split) == ("a group", "test"), table


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_is_no_source(tmp_path: Path, transfer: str) -> None:
    tags = ("-x264-params", f"transfer={transfer}:colorprim=bt2020:colormatrix=bt2020nc")
    ffmpeg(*PICTURE, *X264, *tags, tmp_path / "hdr.mp4")
    found, reasons, _ = find(tmp_path, tmp_path / "out")
    assert found == [] and f"is HDR (transfer {transfer})" in reasons["hdr.mp4"]
