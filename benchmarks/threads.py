"""Training steps with waiting OpenMP threads that sleep, against threads that spin.

    python benchmarks/threads.py

The commands set OMP_WAIT_POLICY=PASSIVE (distill/doors.py). Where other processes share the cores
with torch (decoding workers, a neighbour on the machine), a thread that spins at a barrier takes
the core from the one it waits for. Each policy trains EfficientNet-Lite0 on the same random
batches, alone and beside one process per core that decodes and resizes; prints seconds a step and
their ratio.
"""

import os
import subprocess
import sys

STEPS, VIDEOS = 6, 14
_TRAIN = f"""
import time, torch
from students.frames import FramesStudent
torch.manual_seed(0)
model = FramesStudent(num_frames=1, weights="none")
shapes = {{name: view.shape for name, view in model.views.items()}}
batch = {{n: torch.randint(0, 256, ({VIDEOS}, *s), dtype=torch.uint8) for n, s in shapes.items()}}
times = []
for _ in range({STEPS} + 1):
    start = time.perf_counter()
    model(batch).score.square().mean().backward()
    times.append(time.perf_counter() - start)
print(sorted(times[1:])[{STEPS} // 2])
"""
_NEIGHBOUR = """
import torch, torch.nn.functional as F
torch.set_num_threads(1)
image = torch.randint(0, 256, (1, 3, 1080, 1920), dtype=torch.uint8)
while True:
    F.interpolate(image, size=(256, 454), mode="bilinear", antialias=True)
"""


def seconds_a_step(policy: str) -> float:
    """Median over the steps of one process with this OMP_WAIT_POLICY."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _TRAIN],
        env={**os.environ, "OMP_WAIT_POLICY": policy}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout)


def main() -> None:
    """Print the table."""
    cores = os.cpu_count() or 1
    print(f"{cores} cores; seconds a step of {VIDEOS} videos, median of {STEPS}")
    print(f"{'beside':24} {'ACTIVE':>8} {'PASSIVE':>8} {'ratio':>6}")
    for neighbours in (0, cores):
        crowd = [subprocess.Popen([sys.executable, "-c", _NEIGHBOUR]) for _ in range(neighbours)]
        try:
            active, passive = seconds_a_step("ACTIVE"), seconds_a_step("PASSIVE")
        finally:
            for process in crowd:
                process.kill()
                process.wait()
        name = f"{neighbours} busy processes"
        print(f"{name:24} {active:8.3f} {passive:8.3f} {active / passive:6.2f}")


if __name__ == "__main__":
    main()
