"""What every test shares: a quiet environment, the embedded data, and an account of each skip."""

import os
import re
import shutil
import signal
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from filelock import FileLock

# Before anything imports torch, matplotlib or wandb: they read these once. Doors that tests start
# inherit them.
os.environ["MPLBACKEND"] = "Agg"
os.environ["DISTILL_DEMO"] = "tiny"
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # one thread per worker, not one per core in each
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MKL_NUM_THREADS", "1")

# A shell's background job ignores SIGINT, and so would every door that a test starts and stops.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A deadline would assert on time, and so does too_slow: both fail on a busy machine only.
_QUIET: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [hypothesis.HealthCheck.too_slow],
}
hypothesis.settings.register_profile("local", **_QUIET)
hypothesis.settings.register_profile("ci", derandomize=True, print_blob=True, **_QUIET)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

# What a machine may lack. A test skipped for any other reason fails the run.
NO_SHARED, NO_GPU, NO_BROWSER = "no ../shared", "no GPU", "no browser"
NO_FFMPEG_LIBRARIES = "no FFmpeg libraries"
ALLOWED_SKIPS = (NO_SHARED, NO_GPU, NO_BROWSER, NO_FFMPEG_LIBRARIES)

_OWN_CACHE = pytest.StashKey[str]()


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    """Give the run one cache: xdist starts its workers after this, and they inherit it.

    It is new each run, so that no test passes on data that older code made. Set DISTILL_CACHE
    to keep one between runs while you work.
    """
    if not _is_worker(config) and "DISTILL_CACHE" not in os.environ:
        config.stash[_OWN_CACHE] = tempfile.mkdtemp(prefix="distill-tests-")
        os.environ["DISTILL_CACHE"] = config.stash[_OWN_CACHE]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the cache that this run made."""
    own = config.stash.get(_OWN_CACHE, None)
    if own is not None:
        shutil.rmtree(own, ignore_errors=True)
        os.environ.pop("DISTILL_CACHE", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu`` where torch sees none; torch is not imported otherwise."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=f"{NO_GPU}: CUDA finds no device"))


@pytest.fixture(scope="session")
def shared_dir(pytestconfig: pytest.Config) -> Path:
    """The folder of real clips, labels and golden numbers beside the checkout.

    DISTILL_SHARED names another place; where that is given and missing, the test fails.
    """
    named = os.environ.get("DISTILL_SHARED")
    path = Path(named) if named else pytestconfig.rootpath.parent / "shared"
    if path.is_dir():
        return path.resolve()
    if named:
        pytest.fail(f"DISTILL_SHARED={named} is not a folder", pytrace=False)
    pytest.skip(f"{NO_SHARED} beside the checkout; DISTILL_SHARED=folder names another place")


@pytest.fixture(scope="session")
def demo_manifest() -> Path:
    """The manifest of the embedded data set in its tiny size, made once per run."""
    from distill.ladder.demo import make_demo

    cache = Path(os.environ["DISTILL_CACHE"])
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "tests-demo.lock"):  # the other xdist workers wait for it
        return Path(make_demo(size="tiny", progress=False))


def _skips(config: pytest.Config) -> Counter[tuple[str, str]]:
    """Count (reason, test or module) over all workers; what xfails is no skip."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    found: Counter[tuple[str, str]] = Counter()
    for report in reporter.stats.get("skipped", []) if reporter else []:
        longrepr = report.longrepr
        text = str(longrepr[2] if isinstance(longrepr, tuple) else longrepr)
        found[re.sub(r"^Skipped: ", "", text), report.nodeid] += 1
    return found


def _allowed(reason: str) -> bool:
    return reason.startswith(ALLOWED_SKIPS)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that passed only because a test was skipped for want of a package."""
    if _is_worker(session.config) or session.exitstatus != pytest.ExitCode.OK:
        return
    if not all(_allowed(reason) for reason, _ in _skips(session.config)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Name and count every skipped test under its reason."""
    skips = _skips(config)
    terminalreporter.section(f"skipped tests: {sum(skips.values())}")
    if not skips:
        terminalreporter.line("None: every test ran.")
    for reason in sorted({reason for reason, _ in skips}):
        tests = sorted(name for why, name in skips if why == reason)
        verdict = "" if _allowed(reason) else "  <- NOT ALLOWED, the run fails"
        terminalreporter.line(f"{len(tests)} x {reason}{verdict}", red=bool(verdict))
        for name in tests:
            terminalreporter.line(f"    {name}")
    if not all(_allowed(reason) for reason, _ in skips):
        terminalreporter.line(f"Allowed reasons begin with: {', '.join(ALLOWED_SKIPS)}.", red=True)
