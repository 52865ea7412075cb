"""Cached features: found by what they were made from, whole or not at all."""

import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from distill.data.features import FeatureStore
from distill.errors import CacheError

FEATURES = {"features/a": torch.arange(12.0).reshape(3, 4), "features/b": torch.ones(1, 5)}
FINGERPRINTS = {"features/a": "aa" * 16, "features/b": "bb" * 16}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_was_kept_comes_back_to_the_bit(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, FINGERPRINTS)
    assert store.load("c0") is None
    store.save("c0", FEATURES)
    found = FeatureStore(tmp_path, FINGERPRINTS).load("c0")
    assert found is not None and found.keys() == FEATURES.keys()
    assert all(torch.equal(found[key], FEATURES[key]) for key in FEATURES)
    assert [path.name for path in _files(tmp_path)] == ["c0.safetensors"] * 2
    assert torch.equal(load_file(_files(tmp_path)[0])["features"], FEATURES["features/a"])


def test_another_weight_view_or_video_meets_nothing(tmp_path: Path) -> None:
    FeatureStore(tmp_path, FINGERPRINTS).save("c0", FEATURES)
    assert FeatureStore(tmp_path, FINGERPRINTS).load("c1") is None
    assert FeatureStore(tmp_path, FINGERPRINTS | {"features/b": "b1" * 16}).load("c0") is None


def test_a_file_in_another_s_place_is_not_believed(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, FINGERPRINTS)
    store.save("c0", FEATURES)
    store.save("c1", FEATURES)
    for path in _files(tmp_path):
        shutil.copy(path, path.with_name("c2.safetensors"))
    assert store.load("c2") is None
    other = FeatureStore(tmp_path, dict.fromkeys(FINGERPRINTS, "cc" * 16))
    (tmp_path / ("cc" * 16)).mkdir()
    shutil.copytree(tmp_path / ("aa" * 16) / "c0", tmp_path / ("cc" * 16) / "c0")
    assert other.load("c0") is None


@given(st.data())
def test_damage_anywhere_is_missing_and_can_be_mended(data: st.DataObject) -> None:
    """A flipped bit, a torn end or a long one: never other values."""
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder), FINGERPRINTS)
        store.save("c0", FEATURES)
        path = data.draw(st.sampled_from(_files(Path(folder))))
        whole = path.read_bytes()
        at = data.draw(st.integers(0, len(whole) - 1))
        damage = data.draw(st.sampled_from(("flip", "cut", "grow")))
        if damage == "flip":
            bit = 1 << data.draw(st.integers(0, 7))
            path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
        else:
            path.write_bytes(whole[:at] if damage == "cut" else whole + b"x")
        found = store.load("c0")
        # A bit of the header's padding changes nothing; one of the values does.
        assert found is None or all(torch.equal(found[key], FEATURES[key]) for key in FEATURES)
        values = 48 if path.parts[-3] == "aa" * 16 else 20
        if damage != "flip" or at >= len(whole) - values:
            assert found is None
        store.save("c0", FEATURES)
        assert store.load("c0") is not None


def test_a_full_or_forbidden_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = FeatureStore(tmp_path / "file", FINGERPRINTS)
    with pytest.raises(CacheError, match=r"cannot be written.*training\.feature_cache=FOLDER"):
        store.save("c0", FEATURES)
