"""Published checkpoints: where they are looked for, what is refused, what a message says."""

import hashlib
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from distill.errors import WeightsError
from distill.state_dicts import fill, read_state
from distill.weight_files import WeightFile

FILE = WeightFile(
    "net_1_4.pth", "Net's checkpoint, release v2 of its repository", "MIT",
    url="https://example.org/net_1_4.pth", aliases=("net_1*4.pth",),
)  # fmt: skip


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    asked: list[str] = []

    def refuse(url: str, *_: object) -> None:
        asked.append(url)
        raise urllib.error.URLError("no route")

    monkeypatch.setattr("distill.weight_files.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DISTILL_WEIGHTS", raising=False)
    return asked


@pytest.mark.parametrize("name", ["net_1_4.pth", "net_1*4.pth"])
def test_a_file_in_the_weights_folder_is_found_under_every_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list[str]
) -> None:
    (tmp_path / name).write_bytes(b"weights")
    monkeypatch.setenv("DISTILL_WEIGHTS", str(tmp_path))
    path, info = FILE.find()
    assert path == tmp_path / name
    assert (info.source, info.license) == ("file", "MIT")
    assert info.detail == f"{name}, sha256 {hashlib.sha256(b'weights').hexdigest()}"
    assert no_network == []


def test_it_is_downloaded_once_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list[str]
) -> None:
    def download(url: str, to: str, prefix: str | None) -> None:
        assert (url, prefix) == (FILE.url, None)
        Path(to).write_bytes(b"weights")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    path, info = FILE.find()
    assert path == tmp_path / "cache" / "distill-vqa" / "weights" / FILE.name
    assert info.source == "hub"
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    assert FILE.find()[0] == path
    assert FILE.find()[1].source == "cache"


def test_a_missing_file_says_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list[str]
) -> None:
    with pytest.raises(WeightsError) as error:
        FILE.find()
    for words in ("net_1_4.pth is missing", "could not be downloaded", "no route",
                  "release v2 of its repository", "DISTILL_WEIGHTS=<folder>"):  # fmt: skip
        assert words in str(error.value)
    assert no_network == [FILE.url]
    monkeypatch.setenv("DISTILL_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("distill.weight_files.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"does not have it; HF_HUB_OFFLINE is set"):
        FILE.find()
    with pytest.raises(WeightsError, match="no address to download it from"):
        WeightFile("x.pth", "x", "MIT").find()
    with pytest.raises(WeightsError, match=r"weights=a\.pth: no such file; .* path of net_1_4"):
        FILE.find("a.pth")


def test_whether_it_can_be_had_is_asked_without_downloading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list[str]
) -> None:
    answers = {FILE.url: ""}
    monkeypatch.setattr("distill.weight_files.why_unreachable", lambda url: answers[url])
    assert FILE.why_missing() == ""
    answers[FILE.url] = "no answer"
    assert "net_1_4.pth is missing (no answer). It is Net's checkpoint" in FILE.why_missing()
    (tmp_path / FILE.name).write_bytes(b"weights")
    monkeypatch.setenv("DISTILL_WEIGHTS", str(tmp_path))
    assert FILE.why_missing() == "" and no_network == []
    assert not (tmp_path / "cache").exists()


def test_a_known_checksum_is_verified_and_other_files_are_taken_as_they_are(
    tmp_path: Path, no_network: list[str]
) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    known = WeightFile(FILE.name, FILE.about, "MIT", sha256=digest[:8])
    good, bad, mine = tmp_path / FILE.name, tmp_path / "d" / FILE.name, tmp_path / "mine.pth"
    good.write_bytes(b"weights")
    bad.parent.mkdir()
    bad.write_bytes(b"damaged")
    mine.write_bytes(b"finetuned")
    assert known.find(str(good))[1].license == "MIT"
    with pytest.raises(WeightsError, match=r"d/net_1_4\.pth: sha256 is .*, expected"):
        known.find(str(bad))
    assert known.find(str(mine))[1].license == "unknown"


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state", "params", "model"])
def test_wrappers_come_off_and_numbers_beside_the_weights_do_no_harm(
    wrapper: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.pyth"
    results = {"srcc": np.float64(0.9), "plcc": np.float32(0.8), "n": np.int64(3)}
    torch.save({wrapper: {"w": torch.ones(2)}, "validation_results": results}, path)
    assert read_state(path).keys() == {"w"}


class Trap:
    """Running it is what a refused pickle would do."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("this ran",))


def test_a_pickle_that_needs_code_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.pth"
    torch.save({"state_dict": {"w": torch.ones(2)}, "extra": Trap()}, path)
    with pytest.raises(WeightsError, match="would run code that is stored in it"):
        read_state(path)
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "cannot be read as weights: EOFError"), (b"<!DOCTYPE html><html>", "is a web page")],
)
def test_what_is_no_file_of_weights_says_so(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        read_state(path)


def test_fill_is_strict_and_names_the_keys() -> None:
    net = nn.Linear(2, 1)
    good = {"weight": torch.zeros(1, 2), "bias": torch.zeros(1)}
    fill(net, good, "f.pth", "net")
    assert torch.equal(net.weight, good["weight"])
    fill(net, {**good, "head.w": torch.ones(1)}, "f.pth", "net", optional=("head.",))
    odd = {"weight": torch.zeros(2, 2), "extra": torch.zeros(1)}
    with pytest.raises(WeightsError) as error:
        fill(net, odd, "f.pth", "net")
    for words in ("f.pth: does not fit net", "missing: bias", "not of this network: extra",
                  "weight (2, 2) instead of (1, 2)"):  # fmt: skip
        assert words in str(error.value)
