"""Labelling that is killed 20 times at random moments, against a run that nobody disturbs.

    python benchmarks/kills.py [--kills 20] [--videos 120] [--seed 0]

A toy teacher (seconds to train) labels copies of the embedded videos, broken files among them,
by the command as a user types it. One store is made in one go; the other by starts that are each
killed with SIGKILL after a random time, and a last one that is let be. Prints how many kills hit
while labels were made, what the kills cost, and whether the two stores are equal row by row
(scores to 1e-5); the exit code is 1 where they are not.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DISTILL_DEMO", "tiny")

from distill.labels import LabelStore  # noqa: E402
from distill.ladder.demo import make_demo  # noqa: E402
from tests.helpers import labelling as toy  # noqa: E402


def main() -> int:
    """Print what happened; 0 where nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--videos", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="distill-kills-") as name:
        place = Path(name)
        bundle = toy.toy_teacher(place / "outputs")
        pool = toy.broken_pool(place / "pool", Path(make_demo()), options.videos)
        start = time.monotonic()
        whole = toy.labelling(bundle, pool, place / "whole")
        output, _ = whole.communicate()
        if whole.returncode:
            sys.exit(output)
        alone = time.monotonic() - start
        expected = toy.rows_of(place / "whole")
        spent, hits, kills = kill(options, bundle, pool, place / "killed", alone)
        differ = toy.differences(toy.rows_of(place / "killed"), expected)
    failed = sum(row.status != "ok" for row in expected)
    print(f"{len(expected)} videos, {failed} of them broken; seed {options.seed}")
    print(f"undisturbed: {alone:.1f} s; with {kills} kills: {spent:.1f} s in all")
    print(f"kills that hit after the first label and before the last: {hits}")
    print("\n".join(differ) or "the stores are equal, row by row")
    return 1 if differ or kills < options.kills else 0


def kill(
    options: argparse.Namespace, bundle: Path, pool: Path, store: Path, alone: float
) -> tuple[float, int, int]:
    """Seconds of all starts, kills amid labels, kills."""
    moments = random.Random(options.seed)
    begin, hits, kills = time.monotonic(), 0, 0
    while True:
        last = kills == options.kills
        process = toy.labelling(bundle, pool, store)
        if not last:
            # So late at most that the last start still has work, were each to label until then.
            limit = time.monotonic() + moments.uniform(0.2, 1.1) * alone
            while process.poll() is None and time.monotonic() < limit:
                time.sleep(0.005)
                if count(store) >= options.videos * (kills + 1) // (options.kills + 1):
                    break
            process.send_signal(signal.SIGKILL)
        output, _ = process.communicate()
        if last or process.returncode == 0:
            if process.returncode:
                sys.exit(output)
            return time.monotonic() - begin, hits, kills
        kills += 1
        hits += 0 < count(store) < options.videos


def count(store: Path) -> int:
    """Videos in a store; reading it is a test as well."""
    return len(LabelStore(store).index()) if (store / "meta.json").exists() else 0


if __name__ == "__main__":
    sys.exit(main())
