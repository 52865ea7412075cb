"""`python make_ladder.py` as a user types it: what it makes, what it leaves out, what survives."""

import contextlib
import csv
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from distill.data.manifest import read_manifest
from distill.data.pool_sources import read_pool
from distill.stages.make_ladder import run
from tests.helpers.video_files import FFMPEG, X264, ffmpeg

# Three rungs instead of six, and one codec that is quick: the codecs have tests of their own.
LADDER = """\
light:
  - {processing: transcode, encodes: [x264 qp 24-28]}
heavy:
  - {processing: transcode, encodes: [x264 qp 40-44]}
filter:
  - processing: blur
    encodes: [x264 qp 18-24, x265 crf 28-30]
    filters: gblur=sigma={sigma}
    draws: {sigma: [1, 1.5]}
  - processing: rescale
    encodes: [x264 crf 20-24]
    filters: scale={width}/2:{height}/2,scale={width}:{height}
"""
WORDS = ["src", "--out", "set", "--ladder", "my.yaml", "--seconds", "0.4", "--pairs", "1220/1220"]


def picture(size: str, seed: int, seconds: float = 0.6) -> list[str]:
    grain = f"noise=alls=10:all_seed={seed},hue=h={40 * seed}"
    source = f"testsrc2=size={size}:rate=25:duration={seconds},{grain}"
    return ["-f", "lavfi", "-i", source, *X264, "-qp", "6"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound ones (plain, turned, odd with sound) and a copy, a broken, a short and a small one."""
    folder = tmp_path_factory.mktemp("sources")
    sub = folder / "a folder"
    sub.mkdir()
    ffmpeg(*picture("160x128", 1), folder / "plain.mp4")
    ffmpeg(*picture("176x144", 2), folder / "upright.mp4")
    ffmpeg(
        *("-display_rotation", "90", "-i", folder / "upright.mp4", "-c", "copy"),
        sub / "turned, é.mp4",
    )
    (folder / "upright.mp4").unlink()
    odd = picture("162x130", 3)
    odd[3] += ",format=yuv444p,crop=161:129:exact=1"
    ffmpeg(
        *odd[:4],
        *("-f", "lavfi", "-i", "sine=duration=0.6"),
        *odd[4:],
        *("-c:a", "aac", folder / "odd.mp4"),
    )
    shutil.copy(folder / "plain.mp4", sub / "copy.mp4")
    whole = bytearray((folder / "plain.mp4").read_bytes())
    at = whole.index(b"mdat") + len(whole) // 4
    whole[at : at + 4000] = bytes(reversed(whole[at : at + 4000]))
    (folder / "broken.mp4").write_bytes(whole)
    (folder / "text.mp4").write_text("no video")
    ffmpeg(*picture("160x128", 4, 0.2), folder / "short.mp4")
    ffmpeg(*picture("96x64", 5), folder / "small.mp4")
    return folder


def start(
    root: Path, where: Path, sources: Path, *words: str, **environment: str
) -> subprocess.Popen[str]:
    where.mkdir(exist_ok=True)
    (where / "my.yaml").write_text(LADDER)
    if not (where / "src").exists():
        (where / "src").symlink_to(sources)
    return subprocess.Popen(
        [sys.executable, str(root / "make_ladder.py"), *words],
        cwd=where,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, told = process.communicate(timeout=250)
    assert "Traceback" not in told, told
    return process.returncode, out, told


def digests(folder: Path) -> dict[str, str]:
    """Every file that is not hidden, and its hash."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".ladder" not in path.parts]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def root(pytestconfig: pytest.Config) -> Path:
    return pytestconfig.rootpath


@pytest.fixture(scope="module")
def made(
    root: Path, sources: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, str]:
    """A set made by two workers without a break; its folder and what was said."""
    where = tmp_path_factory.mktemp("made")
    code, out, told = finish(start(root, where, sources, *WORDS, "--workers", "2"))
    assert code == 1, told
    return where / "set", out, told


def test_a_manifest_that_training_reads(made: tuple[Path, str, str]) -> None:
    folder, out, _ = made
    manifest = read_manifest(folder / "manifest.csv")
    assert not manifest.problems and len(manifest.rows) == 12
    groups = {row.group: row.split for row in manifest.rows}
    assert sorted(groups.values()) == ["test", "train", "val"]
    assert sorted(re.sub("-[0-9a-f]{10}$", "", group) for group in groups) == [
        *("copy", "odd", "turned")
    ]
    sizes = {}
    for row in manifest.rows:
        told = subprocess.run([FFMPEG, "-i", row.path], capture_output=True, text=True).stderr
        assert told.count("Stream #") == 1 and "rotation" not in told
        sizes[row.group.split("-")[0]] = re.findall(r", (\d+x\d+)", told)[0]
    assert sizes == {"copy": "160x128", "odd": "160x128", "turned": "144x176"}
    for group in groups:
        labels = [row.mos for row in manifest.rows if row.group == group]
        assert 5 >= labels[0] > labels[1] > labels[2] >= 1 and labels[0] > labels[3]
    assert f"12 videos: {folder / 'manifest.csv'}" in out


def test_each_video_that_is_left_out_has_a_reason(made: tuple[Path, str, str]) -> None:
    folder, _, told = made
    reasons = {row["video"]: row["reason"] for row in table(folder / "problems.csv")}
    expected = {
        "broken.mp4": "cannot be decoded",
        "plain.mp4": "the same content as 'a folder/copy.mp4'",
        "short.mp4": r"lasts 0\.20 s, less than a shot \(--seconds 0\.4\)",
        "small.mp4": "is 96x64; the short side must be at least 128",
        "text.mp4": "Invalid data",
    }
    assert reasons.keys() == expected.keys()
    for video, text in expected.items():
        assert re.search(text, reasons[video]) and f"{video}: {reasons[video]}" in told


def test_pairs_are_ordered_by_labels_that_differ(made: tuple[Path, str, str]) -> None:
    rows = {row["video"]: row for row in table(made[0] / "manifest.csv")}
    pairs = table(made[0] / "pairs.csv")
    assert {pair["kind"] for pair in pairs} == {"source"}  # each split has one content only
    assert {pair["rank"] for pair in pairs} == {"1", "2"}
    for pair in pairs:
        one, other = rows[pair["video1"]], rows[pair["video2"]]
        assert one["group"] == other["group"] and one["split"] == pair["split"]
        ahead = float(one["mos"]) - float(other["mos"])
        assert abs(ahead) > 0.25 and pair["rank"] == ("1" if ahead > 0 else "2")


def test_readme_has_the_command_and_what_labels_are(made: tuple[Path, str, str]) -> None:
    text = (made[0] / "README.md").read_text()
    assert "python make_ladder.py src --out set --seconds 0.4 --shots 1 --short-side 540" in text
    assert "1 + 4 * VMAF / 100" in text and "Nobody was asked" in text and "sharpening" in text
    assert "workers" not in text


def test_killed_and_started_again_gives_the_same_bytes(
    root: Path, sources: Path, made: tuple[Path, str, str], tmp_path: Path
) -> None:
    where = tmp_path / "again"
    process = start(root, where, sources, *WORDS, "--workers", "1")
    while len(list(where.glob("set/.ladder/*.json"))) < 6:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    process.kill()
    process.communicate()
    kept = {path: path.stat().st_mtime_ns for path in where.glob("set/.ladder/*.json")}
    assert 6 <= len(kept) < 12 and not (where / "set" / "manifest.csv").exists()

    code, out, _ = finish(start(root, where, sources, *WORDS, "--workers", "1"))
    assert code == 1
    assert digests(where / "set") == digests(made[0])
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # nothing is made twice
    assert out.splitlines()[:-1] == made[1].splitlines()[:-1]


@pytest.fixture
def hang_up() -> Iterator[None]:
    """SIGHUP as a terminal has it, though the tests may run below nohup."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("hang_up")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_its_children(
    root: Path, sources: Path, tmp_path: Path, number: int
) -> None:
    ffmpeg(*picture("160x128", 6, 8), tmp_path / "long.mp4")
    (tmp_path / "slow.yaml").write_text("slow: [{processing: slow, encodes: [vp9 crf 9]}]\n")
    words = ["long.mp4", "--out", "set", "--seconds", "8", "--ladder", "slow.yaml"]
    process = start(root, tmp_path, sources, *words)
    child = None
    while child is None:
        assert process.poll() is None, process.communicate()
        for found in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                child = found if "libvpx-vp9" in found.cmdline() else child
        time.sleep(0.01)
    process.send_signal(number)
    code, _, told = finish(process)
    assert code == 128 + number
    assert "error: stopped; what is finished is kept, and the same command continues" in told
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert not list(tmp_path.glob("set/videos/.tmp-*"))


@pytest.mark.usefixtures("hang_up")
def test_nohup_holds() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert run(["--print-ladder"]) == 0 and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_a_table_holds_its_groups_and_splits(root: Path, sources: Path, tmp_path: Path) -> None:
    lines = ["video,group,split", "src/plain.mp4,a,test", "src/odd.mp4,b,train"]
    lines += [
        "src/a folder/copy.mp4,b,train",
        '"src/a folder/turned, é.mp4",c,pool',
        "src/no.mp4,d,",
    ]
    tmp_path.joinpath("table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = ["table.csv", *WORDS[1:]]
    code, _, _ = finish(start(root, tmp_path, sources, *words))
    assert code == 1
    manifest = read_manifest(tmp_path / "set" / "manifest.csv")
    assert {(row.group, row.split) for row in manifest.rows} == {
        *(("a", "test"), ("b", "train"), ("c", "pool"))
    }
    problems = [(r["line"], r["reason"]) for r in table(tmp_path / "set" / "problems.csv")]
    assert [line for line, _ in problems] == ["6", "4"]
    assert "no such file" in problems[0][1] and "same content as 'src/plain.mp4'" in problems[1][1]


def test_a_pool_has_no_labels_and_no_held_out_content(
    root: Path, sources: Path, tmp_path: Path
) -> None:
    lines = ["video,split", "src/plain.mp4,test", "src/odd.mp4,"]
    tmp_path.joinpath("table.csv").write_text("\n".join(lines) + "\n")
    words = ["table.csv", "--out", "set", "--seconds", "0.4", "--unlabelled", "--short-side", "128"]
    words += ["--time-limit", "none"]
    code, _, told = finish(start(root, tmp_path, sources, *words))
    assert code == 1 and "plain.mp4: its split is test" in told
    rows = table(tmp_path / "set" / "manifest.csv")
    assert [row["processing"] for row in rows][-2:] == ["noise", "drops"] and len(rows) == 9
    assert {(row["mos"], row["split"]) for row in rows} == {("", "pool")}
    assert len(read_pool(tmp_path / "set" / "manifest.csv").rows) == 9
    text = (tmp_path / "set" / "README.md").read_text()
    assert "pseudo_label.py" in text and "--time-limit none --unlabelled\n" in text
    assert len(table(tmp_path / "set" / "pairs.csv")) == 0


def test_dry_run_says_how_much_and_leaves_nothing(
    root: Path, sources: Path, tmp_path: Path
) -> None:
    code, out, told = finish(start(root, tmp_path, sources, *WORDS, "--shots", "2", "--dry-run"))
    assert code == 1 and "text.mp4: no video" in told
    assert "4 sources are too short for 2 shots" in told
    assert re.search(r"videos +16: 4 shots, 4 each\n", out)  # the broken one is found when decoded
    assert re.search(r"time +about \d+ s with \d+ workers\nspace +about \d+ MB\n", out)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["src"], "name the videos and a folder"),
        (["nowhere", "--out", "set"], "nowhere: no such file or folder"),
        (["src", "--out", "set", "--split", "70/20/20"], "--split 70/20/20: give the percentages"),
        (["src", "--out", "set", "--seconds", "0"], "--seconds=0.0 must be"),
        (["src", "--out", "set", "--time-limit", "0"], "--time-limit=0.0 must be"),
        (["src", "--out", "set", "--time-limit", "long"], "long: give a number of seconds"),
        (["src", "--out", "set", "--pairs", "many"], "--pairs many: give two numbers"),
        (["src", "--out", "set", "--seconds", "9"], "nothing made: none of the videos in"),
        (
            ["src", "--out", ".", "--seconds", "9"],
            "has a README.md that make_ladder.py did not write",
        ),
        (["src", "--out", "set", "--ladder", "no.yaml"], "no.yaml: cannot be read"),
    ],
)
def test_nothing_made_is_2_with_one_message(
    root: Path, sources: Path, tmp_path: Path, words: list[str], text: str
) -> None:
    if "." in words:
        tmp_path.joinpath("README.md").write_text("mine")
    for _ in range(2):  # the first leaves nothing that the second would take for another's
        code, out, told = finish(start(root, tmp_path, sources, *words))
        assert (code, out) == (2, "") and text in told.splitlines()[-1]


def hear(process: subprocess.Popen[str], text: str) -> str:
    """What it says on stderr up to a text."""
    assert process.stderr
    told = ""
    while text not in told:
        line = process.stderr.readline()
        assert line, told
        told += line
    return told


def test_a_manifest_never_tells_of_what_another_process_makes(
    root: Path, sources: Path, made: tuple[Path, str, str], tmp_path: Path
) -> None:
    """Two at once: the one that waits is killed at its work, after the first has ended."""
    shutil.copytree(made[0], tmp_path / "set")
    manifest = tmp_path / "set" / "manifest.csv"
    notes = list(tmp_path.glob("set/.ladder/*.json"))
    before = [path.read_text() for path in notes]
    with FileLock(tmp_path / "set" / ".ladder" / "lock"):
        process = start(root, tmp_path, sources, *WORDS, "--seed", "1", "--workers", "1")
        hear(process, "waiting for it")
        shutil.copy(made[0] / "manifest.csv", manifest)  # as the first does at its end
    while [path.read_text() for path in notes if path.exists()] == before:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert not manifest.exists()


def test_what_cannot_be_used_is_told_before_the_work(
    root: Path, sources: Path, made: tuple[Path, str, str], tmp_path: Path
) -> None:
    (tmp_path / "set" / ".ladder").mkdir(parents=True)
    lock = FileLock(tmp_path / "set" / ".ladder" / "lock")
    lock.acquire()
    process = start(root, tmp_path, sources, *WORDS)
    told = hear(process, "waiting for it")
    assert "4 left out, see" in told and re.search(r"text.mp4: .*Invalid data", told)
    assert not (tmp_path / "set" / "problems.csv").exists()  # it would be the other one's
    lock.release()
    while not (tmp_path / "set" / "problems.csv").exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.communicate()
    early = table(tmp_path / "set" / "problems.csv")
    assert early == [row for row in table(made[0] / "problems.csv") if row["video"] != "broken.mp4"]
    assert "1 left out" in made[2] and made[2].count("text.mp4: ") == 1


def test_an_old_manifest_in_another_encoding_is_no_traceback(
    root: Path, sources: Path, made: tuple[Path, str, str], tmp_path: Path
) -> None:
    shutil.copytree(made[0], tmp_path / "set")
    manifest = tmp_path / "set" / "manifest.csv"
    manifest.write_bytes("video,group,split\na.mp4,é,test\n".encode("cp1252"))
    code, _, told = finish(start(root, tmp_path, sources, *WORDS))
    assert code == 1 and re.search("warning: .*manifest.csv: 'utf-8' codec.*is unknown", told)
    assert digests(tmp_path / "set") == digests(made[0])


def test_the_time_that_a_source_may_take(root: Path, sources: Path, tmp_path: Path) -> None:
    words = ["src/plain.mp4", "--out", "set", "--seconds", "0.4", "--time-limit", "1e-6"]
    code, _, told = finish(start(root, tmp_path, sources, *words))
    assert code == 2 and "nothing made" in told
    (problem,) = table(tmp_path / "set" / "problems.csv")
    assert "stopped after 1e-06 s" in problem["reason"]
