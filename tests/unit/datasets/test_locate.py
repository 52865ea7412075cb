"""Videos are found in any usual layout; two videos never stand for one row in silence."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.data.locate import Finder
from distill.datasets import konvid_1k, kvq, live_vqc, lsvq, youtube_ugc
from distill.errors import ManifestError

KVQ = kvq.PUBLISHED.folders


def tree(root: Path, *videos: str) -> Path:
    for video in videos:
        (root / video).parent.mkdir(parents=True, exist_ok=True)
        (root / video).touch()
    return root


@pytest.mark.parametrize(
    "found",
    [
        "train/0001.mp4",
        "train_video/0001.mp4",
        "train_videos/0001.MP4",
        "trainvideo/0001.mkv",
        "Train/0001.avi",
        "KVQ/videos/train/0001.mp4",
        "train/0001.mp4/0001.mp4",
        "0001.mp4",
        "videos/0001.mp4",
    ],
)
def test_usual_layouts(tmp_path: Path, found: str) -> None:
    finder = Finder(tree(tmp_path, found), ["train/0001.mp4"], folders=KVQ)
    assert finder.find("train/0001.mp4") == (found, "")


def test_the_root_can_be_the_split_folder_itself(tmp_path: Path) -> None:
    names = ["train/0001.mp4", "val/0001.mp4"]
    finder = Finder(tree(tmp_path / "train_video", "0001.mp4"), names, folders=KVQ)
    assert finder.find("train/0001.mp4") == ("0001.mp4", "") and finder.moved == []
    assert finder.find("val/0001.mp4")[0] == ""


@pytest.mark.parametrize("other", ["test/0001.mp4", "val_video/0001.mp4", "a/TEST/x/0001.mp4"])
def test_another_splits_video_is_not_taken(tmp_path: Path, other: str) -> None:
    """Only train has labels and only test was downloaded: the names agree, the videos do not."""
    finder = Finder(tree(tmp_path, other), ["train/0001.mp4"], folders=KVQ)
    assert finder.find("train/0001.mp4") == ("", f"no such video below {tmp_path}")


def test_a_flat_folder_is_refused_where_several_rows_have_the_name(tmp_path: Path) -> None:
    names = ["train/0001.mp4", "test/0001.mp4", "train/0002.mp4"]
    finder = Finder(tree(tmp_path, "0001.mp4", "0002.mp4"), names, folders=KVQ)
    for name in names[:2]:
        video, reason = finder.find(name)
        assert video == "" and "could also be another row's video" in reason
        assert f"put it into a folder {name[:-9]}" in reason
    assert finder.find("train/0002.mp4") == ("0002.mp4", "")
    assert finder.moved == [("train/0002.mp4", "0002.mp4")]


@pytest.mark.parametrize(
    "videos",
    [
        ("a/x.mp4", "b/x.mp4"),
        ("x.mp4", "backup/x.mp4"),
        ("x.mkv", "x.avi"),
        ("x.mp4", "x.MP4"),
    ],
)
def test_two_videos_for_one_row_are_named_and_not_used(
    tmp_path: Path, videos: tuple[str, str]
) -> None:
    finder = Finder(tree(tmp_path, *videos), ["x"])
    video, reason = finder.find("x")
    assert video == ""
    assert all(name in reason for name in videos) and "keep one of them" in reason


def test_the_exact_name_and_the_named_folder_win(tmp_path: Path) -> None:
    tree(tmp_path, "x.mp4", "x.mkv", "a/y.mp4", "b/y.mp4", "y.mp4", "deep/a/y.mkv")
    finder = Finder(tmp_path, ["x.mkv", "a/y.mp4"])
    assert finder.find("x.mkv") == ("x.mkv", "")
    assert finder.find("a/y.mp4") == ("a/y.mp4", "")


def test_one_video_for_two_rows_is_an_error(tmp_path: Path) -> None:
    finder = Finder(tree(tmp_path, "x.mp4"), ["x.mp4", "x.avi"])
    assert finder.find("x.mp4") == ("x.mp4", "")
    with pytest.raises(ManifestError, match=r"x\.mp4: is the video of two rows, 'x\.mp4' and"):
        finder.find("x.avi")


def test_a_folder_that_another_row_names_holds_other_videos(tmp_path: Path) -> None:
    finder = Finder(tree(tmp_path, "b/x.mp4", "b/y.mp4"), ["a/x.mp4", "b/y.mp4"])
    assert finder.find("a/x.mp4")[0] == ""
    assert finder.find("b/y.mp4") == ("b/y.mp4", "")


def test_lsvq_batches_are_not_mixed(tmp_path: Path) -> None:
    """The 1080p labels name one of a pair; the other, of train, lies on disk alone."""
    root = tree(tmp_path, "ia-batch24/clip.mp4", "ia-batch2/Cold.mov.mp4")
    names = ["ia-batch1/clip.mp4", "ia-batch2/Cold.mov.mp4"]
    finder = Finder(root, names, folders=lsvq.PUBLISHED.folders)
    assert finder.find("ia-batch1/clip.mp4")[0] == ""
    assert finder.find("ia-batch2/Cold.mov.mp4") == ("ia-batch2/Cold.mov.mp4", "")


@pytest.mark.parametrize(
    ("key", "name", "found"),
    [
        (konvid_1k.flickr_id, "6947112934.mp4", "6947112934_original_centercrop_960x540_8s.mp4"),
        (konvid_1k.flickr_id, "6947112934.mp4", "KoNViD_1k_videos/6947112934.mp4"),
        (live_vqc.name_of, "A012.mp4", "Video/A012NEW.mp4"),
        (live_vqc.name_of, "A012.mp4", "Video/A012.mp4"),
        (youtube_ugc.clip_id, "HDR_2160P-06ae.mp4", "HDR/HDR_2160P-06ae.mkv"),
        (
            youtube_ugc.clip_id,
            "HDR_2160P-06ae.mp4",
            "original_videos_h264/HDR_2160P-06ae_crf_10_ss_00_t_20.0.mp4",
        ),
    ],
)
def test_names_that_downloads_have(tmp_path: Path, key: object, name: str, found: str) -> None:
    finder = Finder(tree(tmp_path, found), [name], key=key)  # type: ignore[arg-type]
    assert finder.find(name) == (found, "")


def test_hidden_files_and_other_files_are_no_videos(tmp_path: Path) -> None:
    tree(tmp_path, "._x.mp4", "__MACOSX/x.mp4", ".cache/x.mp4", "x.txt", "x/000.png", "v/x.mp4")
    finder = Finder(tmp_path, ["x.mp4"])
    assert finder.count == 1 and finder.find("x.mp4") == ("v/x.mp4", "")


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    tree(tmp_path / "disk", "train/0001.mp4")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/KVQ").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/loop").symlink_to(tmp_path / "disk")
    finder = Finder(tmp_path / "root", ["train/0001.mp4"], folders=KVQ)
    assert finder.count == 1
    assert finder.find("train/0001.mp4") == ("KVQ/train/0001.mp4", "")


def test_a_link_to_nothing_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").symlink_to(tmp_path / "gone.mp4")
    assert Finder(tmp_path, ["x.mp4"]).find("x.mp4") == (
        "", f"x.mp4 below {tmp_path} is a link to nothing",
    )  # fmt: skip


def test_a_name_that_is_no_utf_8_is_a_reason(tmp_path: Path) -> None:
    """It could not be written into a manifest."""
    tree(tmp_path, os.fsdecode(b"b\xff/x.mp4"))
    assert Finder(tmp_path, ["x.mp4"]).find("x.mp4") == (
        "", rf"b\udcff/x.mp4 below {tmp_path} is no UTF-8; rename it",
    )  # fmt: skip
    tree(tmp_path, "c/x.mp4")
    reason = Finder(tmp_path, ["x.mp4"]).find("x.mp4")[1]
    assert reason == rf"could be b\udcff/x.mp4 or c/x.mp4 below {tmp_path}; keep one of them"


_PART = st.sampled_from(["train", "val", "test", "a", "b"])
_VIDEO = st.builds(
    lambda folders, stem: "/".join([*folders, f"{stem}.mp4"]),
    st.lists(_PART, max_size=2),
    st.sampled_from(["0001", "0002"]),
)


@given(videos=st.sets(_VIDEO, max_size=6), names=st.sets(_VIDEO, min_size=1, max_size=4))
def test_no_video_is_ever_taken_twice_and_exact_paths_are_always_found(
    tmp_path_factory: pytest.TempPathFactory, videos: set[str], names: set[str]
) -> None:
    root = tree(tmp_path_factory.mktemp("root"), *videos)
    finder = Finder(root, names, folders=KVQ)
    taken: list[str] = []
    for name in sorted(names, key=lambda name: (name not in videos, name)):
        try:
            video, reason = finder.find(name)
        except ManifestError:
            continue
        assert bool(video) != bool(reason)
        if video:
            assert video in videos and Path(video).stem == Path(name).stem
            taken.append(video)
    assert len(taken) == len(set(taken))
