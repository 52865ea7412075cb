"""Content hashes and seeds: the same in every process, under every name."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.data.identity import content_hash, seed_of

MIB = 1 << 20
WHOLE = 3 * MIB  # files up to this size are hashed whole


def test_hash_is_of_the_content_not_of_the_name(tmp_path: Path) -> None:
    first, second = tmp_path / "a.mp4", tmp_path / "ü, b=1.mkv"
    first.write_bytes(b"some video")
    second.write_bytes(b"some video")
    assert content_hash(first) == content_hash(second)
    assert len(content_hash(first)) == 32
    int(content_hash(first), 16)
    second.write_bytes(b"some videp")
    assert content_hash(first) != content_hash(second)


@pytest.mark.parametrize("at", [0, MIB, WHOLE // 2, WHOLE - 1])
def test_small_files_are_hashed_whole(tmp_path: Path, at: int) -> None:
    data = bytearray(WHOLE)
    path = tmp_path / "v"
    path.write_bytes(data)
    before = content_hash(path)
    data[at] = 1
    path.write_bytes(data)
    assert content_hash(path) != before


@pytest.mark.parametrize("size", [WHOLE + 1, 3 * WHOLE])
def test_large_files_differ_by_size_edges_and_between(tmp_path: Path, size: int) -> None:
    path = tmp_path / "v"

    def hashed(at: int | None = None, length: int = size) -> str:
        data = bytearray(length)
        if at is not None:
            data[at] = 1
        path.write_bytes(data)
        return content_hash(path)

    # The first block between the edges begins at 1 MiB, the last ends 1 MiB before the end.
    places = [None, 0, MIB - 1, MIB, size - MIB - 1, size - MIB, size - 1]
    assert len({hashed(at) for at in places} | {hashed(length=size + 1)}) == len(places) + 1


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "v"
    with path.open("wb") as file:  # sparse: a terabyte takes no room, but reading it would
        file.truncate(1 << 40)
    assert len(content_hash(path)) == 32


def test_empty_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert len(content_hash(tmp_path / "empty")) == 32
    with pytest.raises(FileNotFoundError):
        content_hash(tmp_path / "missing")


@given(st.lists(st.one_of(st.integers(), st.text(st.characters(codec="utf-8"))), min_size=1))
def test_seed_is_63_bits(parts: list[int | str]) -> None:
    assert 0 <= seed_of(*parts) < 2**63


def test_seed_depends_on_every_part_and_their_order() -> None:
    seeds = [seed_of(*p) for p in [(1, 2), (2, 1), (12,), (1, 2, 0), ("a", 2), ("", 1, 2)]]
    assert len(set(seeds)) == len(seeds)


def test_seed_is_the_same_in_another_process() -> None:
    code = "from distill.data.identity import seed_of; print(seed_of('ü', 3))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": salt},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for salt in ("1", "2")
    }
    assert found == {str(seed_of("ü", 3))}
