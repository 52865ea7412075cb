"""What becomes of pseudo-labels: leaks, copies, doubt, selection, and the order of the rules."""

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.choice import Decision, choose
from distill.content_levels import ContentSlopes
from distill.data.manifest import Row
from distill.errors import ConfigError
from distill.kinds import disputed, kind_of, kind_table, lost_contents
from distill.label_options import DoubtConfig, SelectConfig
from distill.labels import Label
from distill.leaks import find_leaks


def _label(name: str, **values: Any) -> Label:
    return Label(name, f"/pool/{name}", **{"score": 3.0, "group": name, **values})


def _look(seed: int, flips: int = 0) -> np.ndarray:
    """A signature of noise with so many of each frame's 64 bits turned."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (8, 64), dtype=np.uint8)
    bits[:, :flips] ^= 1
    tail = rng.integers(0, 256, 16, dtype=np.uint8)
    flat = np.full(8, 40, np.uint8)
    return np.concatenate([np.packbits(bits), flat, tail])


def _chosen(labels: list[Label], looks: dict[Path, np.ndarray] | None = None,
            doubt: DoubtConfig | None = None, select: SelectConfig | None = None,
            **found: Any) -> list[Decision]:  # fmt: skip
    return choose(
        labels, found.get("leaks", {}), found.get("labelled", {}), found.get("gone", ()),
        looks or {}, doubt or DoubtConfig(), select or SelectConfig(),
    )  # fmt: skip


def test_leaks_are_found_by_name_bytes_and_looks_and_take_their_versions_along() -> None:
    val = Row("val.mp4", Path("/data/val.mp4"), 3.0, split="val", group="a")
    test = Row("test.mp4", Path("/data/test.mp4"), 4.0, split="test", group="b")
    labels = [
        Label("same path", "/data/test.mp4", group="x"),
        _label("copy", content="bytes of val", group="y"),
        _label("version by name", group="b"),
        _label("version of the copy", group="y"),
        _label("look-alike", group="z"),
        _label("version of the look-alike", group="z"),
        _label("too far", group="v"),
        _label("own", group=""),
        _label("own too", group="", content=""),
    ]
    looks = {
        val.path: _look(1), test.path: _look(2),
        Path(labels[4].path): _look(2, flips=16), Path(labels[6].path): _look(2, flips=17),
        Path(labels[7].path): _look(3),
    }  # fmt: skip
    found = find_leaks(labels, [val, test], {val.path: "bytes of val", test.path: ""}, looks)
    assert {at: leak.match for at, leak in found.items()} == {
        0: "test.mp4", 1: "val.mp4", 2: "test.mp4", 3: "val.mp4", 4: "test.mp4", 5: "test.mp4",
    }  # fmt: skip
    assert found[4].reason == "it looks like a test video" and found[4].distance == 16
    assert found[5].reason == "a version of look-alike, of which: it looks like a test video"
    assert found[1].reason == "the same file as a val video" and math.isnan(found[1].distance)
    assert found[2].reason == "its content 'b' is in test"
    by_name = find_leaks(labels, [val, test], {}, {})
    assert set(by_name) == {0, 2}
    train_as_val = Row("t", Path("/pool/own"), 3.0, split="train", group="t")
    assert find_leaks(labels, [train_as_val], {}, {})[7].reason == "it is a val video"


def test_copies_go_and_versions_stay() -> None:
    labels = [
        _label("b, remuxed", content="2", num_frames=50),
        _label("a", content="1", num_frames=50),
        _label("c, the file of a", content="1", num_frames=50),
        _label("version", content="3", num_frames=50),
        _label("as many frames less", content="4", num_frames=49),
        _label("unknown"),
        _label("unknown too"),
    ]
    looks = {Path(label.path): _look(1) for label in labels[:5]}
    looks[Path(labels[3].path)] = _look(9)
    found = _chosen(labels, looks)
    assert [d.action for d in found] == ["dropped", "kept", "dropped", *["kept"] * 4]
    assert (found[0].match, found[0].reason) == ("a", "the same frames as another")
    assert (found[2].match, found[2].reason) == ("a", "the same file as another")
    by_bytes = _chosen(labels, looks, select=SelectConfig(duplicates="bytes"))
    assert [d.match for d in by_bytes] == ["", "", "a", "", "", "", ""]
    assert all(d.weight for d in _chosen(labels, looks, select=SelectConfig(duplicates="none")))


def test_each_rule_sees_what_those_before_left(caplog: pytest.LogCaptureFixture) -> None:
    stds = [5.0, 9.0, 0.1, 0.2, 0.3, math.nan, 0.2, 0.2]
    labels = [_label(f"{i}", score=float(i), std=s, content=f"c{i}") for i, s in enumerate(stds)]
    found = _chosen(
        labels, gone=[0], labelled={1: "train.mp4"},
        doubt=DoubtConfig(rule="sigma", sigma=1.25),
        select=SelectConfig("histogram", count=3, bins=2),
    )  # fmt: skip
    # The median of the five known ones that are left is 0.2; 0.3 is beyond 0.25.
    assert [found[at].rule for at in (0, 1, 4)] == ["gone", "labelled", "doubt"]
    assert found[4].reason == "sigma: 0.3 of spread, the limit is 0.25"
    assert sum(d.weight for d in found) == 3
    assert sum(d.rule == "selection" for d in found) == 2
    assert "1 of 6 pseudo-labels have no spread" in caplog.text


def test_weighing_keeps_all_and_says_why() -> None:
    labels = [_label(str(i), std=s) for i, s in enumerate((0.1, 0.2, 0.4))]
    found = _chosen(labels, doubt=DoubtConfig(rule="sigma", action="weigh", sigma=1.0))
    np.testing.assert_allclose([d.weight for d in found], [0.8, 0.5, 0.2])
    assert [d.action for d in found] == ["weighed"] * 3 and found[0].rule == "doubt"
    assert [d.target for d in found] == [3.0] * 3


def test_shrinking_needs_contents_and_touches_targets_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    labels = [_label(str(i), score=s, group=g) for i, (s, g) in enumerate(
        [(1.0, "a"), (2.0, "a"), (4.0, "b"), (5.0, "b")])]  # fmt: skip
    found = _chosen(labels, doubt=DoubtConfig(shrink=0.2))
    np.testing.assert_allclose([d.target for d in found], [2.2, 3.2, 2.8, 3.8])
    assert [d.label.score for d in found] == [1, 2, 4, 5] and all(d.weight == 1 for d in found)
    _chosen([*labels, _label("alone", group="")], doubt=DoubtConfig(shrink=0.2))
    assert "1 pseudo-labels are the only version of their content" in caplog.text
    with pytest.raises(ConfigError, match=r"doubt.shrink=0.2: no content .* column `group`"):
        _chosen([_label(str(i)) for i in range(3)], doubt=DoubtConfig(shrink=0.2))


def test_auto_goes_by_the_slopes_and_says_why_where_it_cannot(
    caplog: pytest.LogCaptureFixture,
) -> None:
    labels = [_label(str(i), score=s, group=g) for i, (s, g) in enumerate(
        [(1.0, "a"), (2.0, "a"), (4.0, "b"), (5.0, "b")])]  # fmt: skip
    caplog.set_level(logging.INFO)

    def targets(labels: list[Label], slopes: ContentSlopes | None) -> list[float]:
        found = choose(labels, {}, {}, [], {}, DoubtConfig(), SelectConfig(), slopes)
        return [d.target for d in found]

    slopes = ContentSlopes(0.2, 2.0, 13)
    np.testing.assert_allclose(targets(labels, slopes), [1.7, 3.7, 2.3, 4.3])
    assert "times 0.20, within them times 2.00, as on the teacher's 13" in caplog.text
    assert targets([*labels, _label("alone", group="", score=9.0)], slopes)[-1] == 9.0
    np.testing.assert_allclose(
        targets([*labels, _label("x", score=9.0)], slopes)[:4], [1.7, 3.7, 2.3, 4.3]
    )
    assert "1 labels of single versions stay as they are" in caplog.text
    assert targets(labels, None) == [1, 2, 4, 5]
    assert "it is unknown how well their teacher compares different contents" in caplog.text
    assert targets([replace(x, group="") for x in labels], slopes) == [1, 2, 4, 5]
    assert "the pool names no two videos as versions of one content" in caplog.text


def test_a_count_that_the_pool_cannot_give_is_told(caplog: pytest.LogCaptureFixture) -> None:
    labels = [_label(str(i), group="a", score=float(i)) for i in range(5)]
    found = _chosen(labels, select=SelectConfig("k_center", count=4, per_content=2))
    assert sum(d.weight for d in found) == 2
    assert "select.count=4: the pool has 2 of at most 2 a content" in caplog.text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 5}, "select.method=histogram or k_center"),
        ({"per_content": 5}, "select.method=histogram or k_center"),
        ({"method": "k_center"}, "select.method=k_center needs select.count"),
        ({"method": "kcenter", "count": 1}, "did you mean k_center"),
        ({"method": "histogram", "count": 0}, "select.count=0 must be at least 1"),
        ({"duplicates": "all"}, "select.duplicates='all' is not a choice"),
    ],
)
def test_options_of_selection_that_say_nothing_are_errors(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        SelectConfig(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rule": "rank"}, "doubt.rule='rank' is not a choice"),
        ({"action": "remove"}, "doubt.action='remove' is not a choice; choose one of drop, weigh"),
        ({"quantile": 1.0}, "doubt.quantile=1.0 must lie between"),
        ({"sigma": 0.0}, "doubt.sigma=0.0 must be a finite number above 0"),
        ({"rank_change": 0.6}, "doubt.rank_change=0.6 must lie between"),
        ({"shrink": 1.1}, "doubt.shrink=1.1 must lie between 0 and 1"),
        ({"shrink": "half"}, "doubt.shrink=half: give auto or a number from 0 to 1"),
    ],
)
def test_options_of_doubt_out_of_range_are_errors(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DoubtConfig(**values)


def test_kinds_of_videos() -> None:
    label = _label("a", width=640, height=360, duration=2.9, codec="h264")
    assert [kind_of(label, kind, 7) for kind in ("size", "codec", "duration", "versions")] == [
        "360 to 540 px", "h264", "under 3 s", "2 to 9"
    ]  # fmt: skip
    bare = _label("b")
    assert [kind_of(bare, kind, 1) for kind in ("size", "codec", "duration", "versions")] == [
        "unknown", "unknown", "unknown", "1"
    ]  # fmt: skip
    large = _label("c", width=1080, height=1920, duration=60.0)
    assert [kind_of(large, kind, 10) for kind in ("size", "duration", "versions")] == [
        "1080 px and more", "60 s and more", "10 and more"
    ]  # fmt: skip
    decisions = _chosen([label, bare, large, _label("d", group="a", codec="h264", std=0.5)],
                        gone=[1, 3])  # fmt: skip
    rows = {(row["kind"], row["class"]): row for row in kind_table(decisions)}
    h264 = rows["codec", "h264"]
    assert (h264["videos"], h264["kept"], h264["dropped"], h264["spread"]) == (2, 1, 1, 0.5)
    assert [c for k, c in rows if k == "size"] == ["360 to 540 px", "1080 px and more", "unknown"]
    assert rows["versions", "2 to 9"]["videos"] == 2
    assert lost_contents(decisions) == ["b"]
    assert sum(row["videos"] for row in rows.values()) == 4 * 4
    odd = [_label("x", std=0.2), _label("y", std=0.5), _label("z"), _label("w", std=0.5)]
    assert [label.video for label in disputed(odd, 3)] == ["w", "y", "x"]
    versions = [_label(str(i), group="g", std=1.0 - i / 10) for i in range(4)]
    assert [label.video for label in disputed([*versions, *odd], 3)] == ["0", "1", "w"]
