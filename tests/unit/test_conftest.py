"""What tests/conftest.py promises of a run: one cache, and an account of every skipped test."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SKIPPING = """
import os, pytest

def test_runs():
    assert os.environ["DISTILL_DEMO"] == "tiny" and os.path.isdir(os.environ["DISTILL_CACHE"])
    print("cache", os.environ["DISTILL_CACHE"])

def test_shared(shared_dir):
    raise AssertionError

@pytest.mark.xfail(strict=True)
def test_xfail():
    raise AssertionError
"""
UNEXPECTED = """
def test_lazy():
    pytest.skip("no time")
"""


@pytest.mark.parametrize(
    ("workers", "body", "status"),
    [("0", SKIPPING, 0), ("0", SKIPPING + UNEXPECTED, 1), ("2", SKIPPING + UNEXPECTED, 1)],
    ids=["allowed", "unexpected", "unexpected-xdist"],
)
def test_skips_are_named_counted_and_judged(
    tmp_path: Path, workers: str, body: str, status: int
) -> None:
    (tmp_path / "in/tests").mkdir(parents=True)
    shutil.copy(ROOT / "tests/conftest.py", tmp_path / "in/tests")
    (tmp_path / "in/tests/test_it.py").write_text(body)
    (tmp_path / "in/pyproject.toml").write_text('[tool.pytest.ini_options]\ntestpaths = ["tests"]')
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DISTILL_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rP", "-p", "xdist.plugin", "-n", workers],
        cwd=tmp_path / "in",
        env=kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # they take most of the time
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert f"skipped tests: {1 + status} " in done.stdout
    assert "1 x no ../shared beside the checkout" in done.stdout
    assert "    tests/test_it.py::test_shared\n" in done.stdout
    assert ("1 x no time  <- NOT ALLOWED" in done.stdout) == bool(status)
    assert "test_xfail" not in done.stdout.split("skipped tests:")[1].split("=====")[1]
    (cache,) = [line for line in done.stdout.splitlines() if line.startswith("cache ")]
    assert not Path(cache.removeprefix("cache ")).exists()
