"""`make demo` and `make test`: which Python they take, when they install, what they run.

The Makefile runs in a copy of its own with fake interpreters, so nothing is installed here.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAMP = Path(".venv/.distill-installed")
TOOLS = ("sh", "rm", "touch", "mkdir", "cp", "chmod", "sed", "find", "cat", "env")

# Runs the Makefile's own probe on the real interpreter, which believes in another version.
FAKE_PYTHON = """#!/bin/sh
echo "$0 $*" >> "$LOG"
case "$1" in
-c) exec {real} -I -S -c 'import sys; v = {version}; sys.version_info = v
{extra}
exec(sys.argv[1])' "$2" ;;
-V) echo "Python {dotted}" ;;
-m) case "$2" in
  venv) for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python" ;;
  pip) if [ -e .venv/.distill-installed ]; then echo "$* under a stamp" >> "$LOG"; fi
       if [ "$3" = install ]; then exit "${{PIP_STATUS:-0}}"; fi; exit "${{PIP_MISSING:-0}}" ;;
  esac ;;
esac
"""
SHIM = "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n"


class Sandbox:
    """A checkout with the Makefile, and a PATH of which every entry is known."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.log = folder / "a check out", folder / "log"
        self.bins = [folder / "first bin", folder / "second"]
        tools = folder / "tools"
        for each in (self.checkout, *self.bins, tools):
            each.mkdir()
        for name in TOOLS:
            (tools / name).symlink_to(shutil.which(name) or pytest.fail(f"{name} is missing"))
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, self.checkout)
        self.env = {"PATH": os.pathsep.join(map(str, [*self.bins, tools])), "LOG": str(self.log)}

    def add(self, name: str, version: tuple[int, int], bin: int = 0, extra: str = "") -> Path:
        """Put a fake interpreter on PATH."""
        path = self.bins[bin] / name
        path.write_text(
            FAKE_PYTHON.format(
                real=f'"{sys.executable}"',
                version=(*version, 1),
                dotted=f"{version[0]}.{version[1]}.1",
                extra=extra,
            )
        )
        path.chmod(0o755)
        return path

    def fake(self, name: str, body: str) -> None:
        """Put a shell script on PATH."""
        (self.bins[0] / name).write_text(f"#!/bin/sh\n{body}\n")
        (self.bins[0] / name).chmod(0o755)

    def shim(self, name: str) -> None:
        """Put a pyenv shim of a version that is switched off on PATH."""
        (self.bins[0] / name).write_text(SHIM)
        (self.bins[0] / name).chmod(0o755)

    def make(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run make, with nothing of the make that may be running this test."""
        return subprocess.run(
            [shutil.which("make") or "make", *args],
            cwd=self.checkout,
            env=self.env | env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def calls(self, *words: str) -> list[str]:
        """Commands that the fakes received and that hold all the words; clears the log."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line for line in lines if all(word in line for word in words)]


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


def test_takes_the_newest_python_that_runs(sandbox: Sandbox) -> None:
    sandbox.shim("python3.13")
    for name, version in (("python3.11", (3, 11)), ("python3.12", (3, 12)), ("python3", (3, 11))):
        sandbox.add(name, version)
    done = sandbox.make("install")
    assert done.returncode == 0, done.stderr
    (made,) = sandbox.calls("-m venv")
    assert made.startswith(str(sandbox.bins[0] / "python3.12"))
    assert (sandbox.checkout / STAMP).is_file()


def test_looks_behind_a_shim_for_the_same_name(sandbox: Sandbox) -> None:
    sandbox.shim("python3.13")
    behind = sandbox.add("python3.13", (3, 13), bin=1)
    sandbox.add("python3.12", (3, 12))
    assert sandbox.make("install").returncode == 0
    (made,) = sandbox.calls("-m venv")
    assert made.startswith(str(behind))


@pytest.mark.parametrize(
    ("name", "version", "extra"),
    [
        ("python3", (3, 10), ""),
        ("python3", (3, 14), ""),
        ("python3.12", (3, 12), 'sys.modules["ensurepip"] = None'),  # Debian without python3-venv
    ],
)
def test_without_a_fitting_python_says_which_would_fit(
    sandbox: Sandbox, name: str, version: tuple[int, int], extra: str
) -> None:
    sandbox.add(name, version, extra=extra)
    done = sandbox.make("demo")
    assert done.returncode != 0
    assert "no Python 3.11, 3.12 or 3.13 with venv and ensurepip runs from PATH" in done.stderr
    assert "make PYTHON=" in done.stderr
    assert not (sandbox.checkout / ".venv").exists()


def test_python_can_be_named(sandbox: Sandbox) -> None:
    sandbox.add("python3.13", (3, 13))
    named = sandbox.add("my python", (3, 11), bin=1)
    assert sandbox.make("install", f"PYTHON={named}").returncode == 0
    (made,) = sandbox.calls("-m venv")
    assert made.startswith(str(named))


@pytest.mark.parametrize("make_bad", [lambda box: box.add("old", (3, 9)), lambda box: "nowhere"])
def test_a_named_python_that_does_not_fit_is_an_error(
    sandbox: Sandbox, make_bad: Callable[[Sandbox], object]
) -> None:
    sandbox.add("python3.13", (3, 13))
    named = make_bad(sandbox)
    done = sandbox.make("install", f"PYTHON={named}")
    assert done.returncode != 0
    assert f"PYTHON={named} does not run" in done.stderr
    assert not sandbox.calls("-m venv")


def test_installs_once_and_again_when_pyproject_changed(sandbox: Sandbox) -> None:
    sandbox.add("python3.12", (3, 12))
    assert sandbox.make("demo").returncode == 0
    assert sandbox.calls("pip install --editable .[demo,test]")
    assert sandbox.make("demo").returncode == 0
    log = sandbox.calls()
    assert not [line for line in log if "pip install" in line or "venv " in line]
    assert log[-1].endswith("-m distill.stages.main_job")

    stamp = sandbox.checkout / STAMP
    later = stamp.stat().st_mtime + 10
    os.utime(sandbox.checkout / "pyproject.toml", (later, later))
    assert sandbox.make("install").returncode == 0
    log = sandbox.calls()
    assert [line for line in log if "pip install" in line]
    assert not [line for line in log if "-m venv" in line]


def test_a_failed_or_killed_install_leaves_no_stamp(sandbox: Sandbox) -> None:
    sandbox.add("python3.12", (3, 12))
    assert sandbox.make("install").returncode == 0
    later = (sandbox.checkout / STAMP).stat().st_mtime + 10
    os.utime(sandbox.checkout / "pyproject.toml", (later, later))
    assert sandbox.make("test", PIP_STATUS="1").returncode != 0
    assert not (sandbox.checkout / STAMP).exists()
    log = sandbox.calls()
    assert not [line for line in log if "-m pytest" in line]
    # What a kill at any moment of the install would leave behind is what pip finds.
    assert not [line for line in log if "under a stamp" in line]
    assert sandbox.make("install").returncode == 0
    assert (sandbox.checkout / STAMP).is_file()


def test_pip_is_added_to_an_environment_without_it(sandbox: Sandbox) -> None:
    sandbox.add("python3.12", (3, 12))
    assert sandbox.make("install", PIP_MISSING="1").returncode == 0
    assert sandbox.calls("-m ensurepip")


def test_an_environment_whose_python_is_gone_is_made_again(sandbox: Sandbox) -> None:
    sandbox.add("python3.12", (3, 12))
    assert sandbox.make("install").returncode == 0
    sandbox.calls()
    (sandbox.checkout / ".venv/bin/python").unlink()
    assert sandbox.make("install").returncode == 0
    assert sandbox.calls("-m venv --clear")


def test_an_environment_of_another_version_is_named_and_kept(sandbox: Sandbox) -> None:
    old = sandbox.add("old", (3, 10))
    (sandbox.checkout / ".venv/bin").mkdir(parents=True)
    shutil.copy(old, sandbox.checkout / ".venv/bin/python")
    done = sandbox.make("install")
    assert done.returncode != 0
    assert ".venv is Python 3.10.1" in done.stderr
    assert (sandbox.checkout / ".venv/bin/python").exists()


def test_test_checks_style_and_types_before_it_runs_tests(sandbox: Sandbox) -> None:
    sandbox.add("python3.12", (3, 12))
    assert sandbox.make("install").returncode == 0
    plan = sandbox.make("-n", "test", "WORKERS=5", "PYTEST_ARGS=-k losses").stdout.splitlines()
    assert [line.split("-m ")[1] for line in plan] == [
        "ruff check .",
        "ruff format --check .",
        "mypy",
        "pytest -n 5 --dist worksteal -k losses",
    ]
    assert "OMP_NUM_THREADS=1" in plan[-1]


def test_dry_run_of_a_fresh_checkout_touches_nothing(sandbox: Sandbox) -> None:
    sandbox.add("python3.12", (3, 12))
    done = sandbox.make("-n", "demo")
    assert done.returncode == 0
    assert 'pip install --editable ".[demo,test]"' in done.stdout
    assert done.stdout.rstrip().endswith("-m distill.stages.main_job")
    assert not (sandbox.checkout / ".venv").exists()


def test_help_names_every_command(sandbox: Sandbox) -> None:
    text = sandbox.make().stdout
    for target in ("demo", "test", "lint", "format", "install", "clean"):
        assert f"make {target} " in text


def test_ci_runs_make_test_without_a_terminal(sandbox: Sandbox) -> None:
    sandbox.fake("chromium", "exit 0")
    done = ci(sandbox, os.environ["PATH"])
    assert done.stdout == f"{sandbox.checkout}|true|test||\n"
    assert done.returncode == 7


@pytest.mark.parametrize("status", [0, 1])
def test_ci_asks_debian_for_a_browser_and_goes_on_without(sandbox: Sandbox, status: int) -> None:
    sandbox.fake("id", "echo 0")
    sandbox.fake("timeout", 'shift; exec "$@"')
    sandbox.fake("apt-get", f'echo "apt-get $*" >> "$LOG"; exit {status}')
    tools = sandbox.bins[1]
    for name in ("bash", "cat", "dirname"):
        if not (tools / name).exists():
            (tools / name).symlink_to(shutil.which(name) or pytest.fail(f"{name} is missing"))
    done = ci(sandbox, str(tools))
    assert done.stdout == f"{sandbox.checkout}|true|test||\n"
    assert done.returncode == 7
    asked = sandbox.log.read_text().splitlines()
    assert asked[0] == "apt-get -qq update" and asked[-1].endswith(" chromium")
    assert done.stderr == ("no browser: Debian's chromium could not be installed\n" * status)


def ci(sandbox: Sandbox, path: str) -> subprocess.CompletedProcess[str]:
    """Run .ci/run with a make that says how it was called."""
    script = sandbox.checkout / ".ci/run"
    script.parent.mkdir()
    shutil.copy(ROOT / ".ci/run", script)
    sandbox.fake("make", 'echo "$PWD|$CI|$*|$(cat)|"\nexit 7')
    env = {"PATH": f"{sandbox.bins[0]}{os.pathsep}{path}", "LOG": str(sandbox.log)}
    return subprocess.run([script], env=env, cwd="/", capture_output=True, text=True, input="typed")
