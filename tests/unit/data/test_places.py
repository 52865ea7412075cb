"""URLs in the place of paths: letter by letter, and never a file by accident."""

import multiprocessing
from copy import deepcopy
from pathlib import Path

import pytest

from distill.data.places import (
    RemotePath,
    is_url,
    name_of,
    place_of,
    suffix_of,
    url_problem,
    without_password,
)
from distill.data.pool import Pool
from distill.data.rows import Row

URLS = [
    "s3://bucket/a//b/../c.mp4",
    "https://host:8443/a%20b.MP4?X-Signature=a/b.c#t",
    "tar://./in/a.mp4::https://host/pool.tar",
    "memory:///b/ü ;=,.webm",
    "file:///a/b.mp4",
]


@pytest.mark.parametrize("url", URLS)
def test_a_url_stays_as_it_is(url: str) -> None:
    place = place_of(url)
    assert isinstance(place, RemotePath) and isinstance(place, Path)
    assert str(place) == f"{place}" == url and place.url == url
    assert place == place_of(url) and hash(place) == hash(place_of(url))
    assert place != Path(url) and {place: 1}[RemotePath(url)] == 1
    assert deepcopy(place) == place
    assert Pool([Row("v", place)])[0].path == place
    with pytest.raises(FileNotFoundError):
        place.read_bytes()


def test_a_url_survives_the_way_to_another_process() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(str, [RemotePath(url) for url in URLS]) == URLS


@pytest.mark.parametrize("path", ["/a/b.mp4", "a:b/c.mp4", "c://x.mp4", "a b://c", "x", "://a"])
def test_files_are_files(path: str) -> None:
    assert not is_url(path) and place_of(path) == Path(path)
    assert not isinstance(place_of(path), RemotePath)


def test_suffixes_and_names() -> None:
    assert [suffix_of(url) for url in URLS] == [".mp4", ".MP4", ".mp4", ".webm", ".mp4"]
    assert suffix_of("s3://b.c/d") == suffix_of("s3://b/.mp4") == ""
    assert name_of(URLS[1]) == "https://host:8443/a%20b.MP4"


def test_passwords_are_not_kept() -> None:
    url = "https://me:secret@host/a.mp4"
    assert "password" in url_problem(url) and "secret" not in without_password(url)
    assert not any(map(url_problem, [*URLS, "s3://me@host/a:b@c.mp4"]))
