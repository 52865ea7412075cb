"""Thousands of damaged videos through a reader in a process of its own: what came of each.

    python -m benchmarks.fuzz pyav decord [--count 3000] [--keep FOLDER]

Small clips of ten kinds (codecs, containers, 10 bits, rotation, edit list), damaged in five ways,
always the same ones; each is probed and 8 spread frames of it are read twice, with a limit of 20 s.
Prints a Markdown table of the outcomes by kind of damage, the most frequent reasons, the largest
memory of a decoding process, and files a second. A crash or time-out is listed by its number, and
with --keep its file is kept.
"""

import argparse
import re
import tempfile
import time
from collections import Counter
from pathlib import Path

from distill.data.readers import make_reader
from distill.data.readers.isolated import IsolatedReader
from tests.helpers.fuzzing import KINDS, damaged_files, outcome

OUTCOMES = ("frames", "another size", "error", "malformed", "changed", "time-out", "crash")
LIMIT = 20.0


def peak_mib(reader: IsolatedReader) -> float:
    """Largest resident memory so far of the child that waits for the next file (Linux)."""
    if not reader._idle:
        return 0.0
    status = Path(f"/proc/{reader._idle[-1]._process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


def fuzz(name: str, count: int, keep: Path | None) -> None:
    """Print the tables of one reader."""
    reader = make_reader(name, time_limit=LIMIT)
    assert isinstance(reader, IsolatedReader)
    outcomes: Counter[tuple[str, str]] = Counter()
    reasons: Counter[str] = Counter()
    first, peak, busy = peak_mib(reader), 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for file in damaged_files(Path(folder), count):
            path = Path(folder) / f"{file.number}{Path(file.source).suffix}"
            path.write_bytes(file.data)
            start = time.perf_counter()
            what, reason = outcome(reader, path)
            busy += time.perf_counter() - start
            outcomes[file.kind, what] += 1
            if reason:
                reasons[re.sub(r"\d+", "N", reason)] += 1
            if what in OUTCOMES[3:]:
                print(f"{file.number} ({file.source}, {file.kind}): {what}: {reason}")
                if keep:
                    (keep / f"{name}-{path.name}").write_bytes(file.data)
            peak = max(peak, peak_mib(reader))
            path.unlink()
    print(f"\n| {name}, {count} files | {' | '.join(OUTCOMES)} |\n|---|{'---|' * len(OUTCOMES)}")
    for kind in KINDS:
        print(f"| {kind} | {' | '.join(str(outcomes[kind, what]) for what in OUTCOMES)} |")
    sums = [str(sum(outcomes[kind, what] for kind in KINDS)) for what in OUTCOMES]
    print(f"| all | {' | '.join(sums)} |\n\n| reason | files |\n|---|---|")
    for reason, times in reasons.most_common(25):
        print(f"| {reason} | {times} |")
    print(
        f"\n{count / busy:.0f} files a second; memory at the start {first:.0f} MiB, peak {peak:.0f}"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("readers", nargs="+")
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    for name in options.readers:
        fuzz(name, options.count, options.keep)


if __name__ == "__main__":
    main()
