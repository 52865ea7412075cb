"""Soft SRCC, forward and backward, against torchsort and two naive ways of the same ranks.

    python benchmarks/loss.py [--device cuda]

``table`` writes all pairs at once and leaves the rest to autograd; ``rows`` is a Python loop over
the samples; both give the value that ours gives, which is checked first. torchsort's soft rank
(Blondel et al., ICML 2020) is another function, here with its regularisation 0.1; where it is not
installed (it has to be compiled) the run says so and goes on. Prints milliseconds a step, how many
times ours that is, and the most memory that tensors take at once.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from scipy.stats import rankdata, spearmanr
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from distill.losses import soft_srcc

SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
SECONDS = 1.0  # of each measurement, at least three steps
Loss = Callable[[Tensor, Tensor], Tensor]


def width_of(pred: Tensor) -> Tensor:
    """What soft_srcc divides differences by: 2 tau s, in batches of 36 samples and more."""
    fixed = pred.detach()
    spread = (fixed - lower_median(fixed)).abs()
    few = min(1.0, max(0.3, (len(pred) / 36) ** 2))
    return 2 * 0.1 * 1.4826 * lower_median(spread) * few


def lower_median(x: Tensor) -> Tensor:
    """As soft_srcc takes it."""
    return x.sort().values[(len(x) - 1) // 2]


def ranks_of(mos: Tensor) -> Tensor:
    """Exact ranks about 0, in shares of n."""
    n = len(mos)
    return torch.tensor(rankdata(mos.numpy()) - (n + 1) / 2).float() / n


def correlation(soft: Tensor, exact: Tensor) -> Tensor:
    """Of soft ranks about 0 with centred exact ones."""
    return (soft * exact).sum() / soft.norm() / exact.norm()


def table(pred: Tensor, exact: Tensor) -> Tensor:
    """All pairs at once."""
    soft = ((pred[:, None] - pred[None, :]) / width_of(pred)).tanh().mean(1)
    return correlation(soft, exact)


def rows(pred: Tensor, exact: Tensor) -> Tensor:
    """A loop over the samples."""
    width = width_of(pred)
    soft = torch.stack([((one - pred) / width).tanh().mean() for one in pred])
    return correlation(soft, exact)


def sorting() -> Loss | None:
    """torchsort's, where it is installed."""
    try:
        import torchsort
    except ImportError as error:
        print(f"torchsort: not here ({error}); left out\n")
        return None

    def loss(pred: Tensor, exact: Tensor) -> Tensor:
        ranks = torchsort.soft_rank(pred[None], regularization_strength=0.1)[0]
        return correlation(ranks - ranks.mean(), exact)

    return loss


def step(loss: Loss, pred: Tensor, exact: Tensor) -> None:
    """Forward and backward, waited for."""
    pred.grad = None
    loss(pred, exact).backward()
    if pred.is_cuda:
        torch.cuda.synchronize()


def milliseconds(loss: Loss, pred: Tensor, exact: Tensor) -> float:
    """The fastest of the steps after the first: other processes may share the machine."""
    step(loss, pred, exact)
    times: list[float] = []
    while sum(times) < SECONDS or len(times) < 3:
        start = time.perf_counter()
        step(loss, pred, exact)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


class Peak(TorchDispatchMode):
    """Bytes of all tensors that live at once, at their most, to one part in twenty."""

    def __init__(self) -> None:
        super().__init__()
        self.most = self.now = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._alive or self._alive[storage._cdata][0].expired():
                    self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
                    self.now += storage.nbytes()
        if self.now > 1.05 * self.most:
            self._alive = {key: one for key, one in self._alive.items() if not one[0].expired()}
            self.now = sum(size for _, size in self._alive.values())
            self.most = max(self.most, self.now)
        return out


def peak(loss: Loss, pred: Tensor, exact: Tensor) -> float:
    """MiB of a step beyond its inputs; what an operation takes and gives back is not seen."""
    with Peak() as counted:
        step(loss, pred, exact)
    return counted.most / 2**20


def distance(loss: Loss, n: int) -> float:
    """Mean distance from scipy's Spearman, of predictions at 0.8 of their labels."""
    errors = []
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        mos = torch.randn(n, generator=generator)
        pred = 0.8 * mos + 0.6 * torch.randn(n, generator=generator)
        exact = ranks_of(mos)
        errors.append(abs(loss(pred, exact).item() - spearmanr(pred, mos).statistic))
    return sum(errors) / len(errors)


def climbed(loss: Loss) -> float:
    """The least true SRCC of 5 random starts after 300 steps of Adam, lr 0.1, n = 32."""
    ends = []
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        exact = ranks_of(torch.randn(32, generator=generator))
        pred = torch.randn(32, generator=generator).requires_grad_()
        optimizer = torch.optim.Adam([pred], lr=0.1)
        for _ in range(300):
            optimizer.zero_grad()
            (-loss(pred, exact)).backward()
            optimizer.step()
        ends.append(spearmanr(pred.detach(), exact).statistic)
    return min(ends)


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--device", default="cpu")
    device: Any = options.parse_args().device
    torch.set_num_threads(1)
    others: dict[str, Loss] = {"table": table, "rows": rows}
    if (by_sorting := sorting()) is not None:
        others["torchsort"] = by_sorting
    names = "".join(f"{name:>11}{'':10}{'MiB':>7}" for name in ("ours", *others))
    print(f"{'n':>5}{names}    (ms, times ours, peak MiB; {device}, float32)")
    for n in SIZES:
        generator = torch.Generator().manual_seed(n)
        mos = torch.randn(n, generator=generator)
        pred = (0.8 * mos + 0.6 * torch.randn(n, generator=generator)).to(device)
        exact = ranks_of(mos).to(device)
        pred.requires_grad_()
        for same in (table, rows):
            torch.testing.assert_close(same(pred, exact), soft_srcc(pred, exact))

        memory = {
            name: peak(loss, pred, exact) for name, loss in [("ours", soft_srcc), *others.items()]
        }
        base = milliseconds(soft_srcc, pred, exact)
        line = f"{n:>5}{base:>11.2f}{'':10}{memory['ours']:>7.1f}"
        for name, loss in others.items():
            took = milliseconds(loss, pred, exact)
            line += f"{took:>11.2f}{f'({took / base:.2g}x)':>10}{memory[name]:>7.1f}"
        print(line, flush=True)
    print("\nmean distance from Spearman at n = 16, 64, 1024; SRCC reached by climbing (CPU)")
    for name in ("ours", "torchsort"):
        if name == "ours" or name in others:
            loss = soft_srcc if name == "ours" else others[name]
            near = ", ".join(f"{distance(loss, n):.4f}" for n in (16, 64, 1024))
            print(f"{name:>9}: {near}; {climbed(loss):.3f}")


if __name__ == "__main__":
    main()
