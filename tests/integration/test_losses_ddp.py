"""Two gloo ranks against one process: the same loss and, after DDP's mean, the same gradient."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from distill.chunks import predict_in_chunks
from distill.data_sets import SetScales
from distill.gather import gather_with_grad
from distill.losses import TERMS, WeightedLoss
from distill.metrics import CorrelationMetric
from distill.model import Prediction
from tests.helpers.loss_terms import CENTRES, bin_logits

RANKS = 2
# Rows of each rank; in "weightless" the second rank's weights are all 0.
SPLITS = {"equal": (6, 6), "unequal": (3, 9), "weightless": (8, 4), "empty": (12, 0)}
OPTIONS = {name: [name] for name in TERMS} | {"all": list(TERMS)}


# Codes of contents as hashes are, of 63 bits: neighbours are one number in float32.
GROUPS = 2**62 + torch.arange(12) % 5


def joint_batch(split: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(12, 5, generator=generator)
    mos = 3 + torch.randn(12, generator=generator)
    weight = 0.2 + torch.rand(12, generator=generator)
    if split == "weightless":
        weight[8:] = 0
    return inputs, mos, weight, GROUPS


def network() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))


class Chunked(nn.Module):
    """The network, on five videos at a time: some ranks have several chunks, others one."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, inputs: Tensor) -> Tensor:
        predict = lambda views: Prediction(self.network(views["x"]))  # noqa: E731
        return predict_in_chunks(predict, {"x": inputs}, 5).score


class Studies(nn.Module):
    """The network, and a scale and a shift for the second of two data sets."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.scales = network(), SetScales(2, 3.0, 1.0)

    def forward(self, inputs: Tensor, dataset: Tensor) -> Tensor:
        return self.scales(self.network(inputs), dataset)


def studies(split: str) -> dict[str, Tensor]:
    """Data set and error of each row: in "equal", one set on each rank."""
    dataset = torch.arange(12) // 6
    error = torch.where(torch.arange(12) % 3 == 0, torch.nan, 0.1 + torch.arange(12) / 12)
    return {"error": error, "dataset": dataset if split == "equal" else 1 - dataset}


def bins_of(pred: Tensor) -> tuple[Tensor, Tensor]:
    return bin_logits(pred), CENTRES


def step_of_studies(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """As ``step``, with every term, of two data sets."""
    model.zero_grad()
    pred = model(batch["inputs"], batch["dataset"])
    columns = [batch[name] for name in ("mos", "weight", "error", "dataset", "group")]
    total, parts = WeightedLoss(dict.fromkeys(TERMS, 1.5))(pred, *columns, bins_of(pred))
    total.backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    return {"total": total.detach(), "gradient": gradient, **parts}


def batch_of_studies(split: str) -> dict[str, Tensor]:
    named = zip(("inputs", "mos", "weight", "group"), joint_batch(split), strict=True)
    return {**dict(named), **studies(split)}


def step(model: nn.Module, names: list[str], batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The loss, its parts and the gradient of every parameter."""
    inputs, mos, weight, group = batch
    model.zero_grad()
    pred = model(inputs)
    loss = WeightedLoss(dict.fromkeys(names, 1.5))
    total, parts = loss(pred, mos, weight, group=group, bins=bins_of(pred))
    total.backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    return {"total": total.detach(), "gradient": gradient, **parts}


def run_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=RANKS
    )
    found: dict[str, dict[str, Tensor]] = {}
    model = DistributedDataParallel(network())
    for split, sizes in SPLITS.items():
        own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        batch = tuple(x[own] for x in joint_batch(split))
        for option, names in OPTIONS.items():
            found[f"{split} {option}"] = step(model, names, batch)

    of_studies = DistributedDataParallel(Studies())
    for split, sizes in SPLITS.items():
        own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        part = {name: column[own] for name, column in batch_of_studies(split).items()}
        found[f"{split} studies"] = step_of_studies(of_studies, part)

    in_chunks = DistributedDataParallel(Chunked())
    for split, sizes in SPLITS.items():
        own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        batch = tuple(x[own] for x in joint_batch(split))
        found[f"{split} chunks"] = step(in_chunks, list(TERMS), batch)

    rows = torch.arange(2 * rank, 3 * rank + 2)[:, None].float().expand(-1, 3).requires_grad_()
    gathered = gather_with_grad(rows)
    (gathered * (rank + 1)).sum().backward()
    found["gather"] = {"value": gathered.detach(), "gradient": rows.grad}

    _, mos, pred, _ = joint_batch("equal")
    for split, sizes in SPLITS.items():
        metric = CorrelationMetric()
        own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        if sizes[rank]:
            metric.update(pred[own], mos[own], torch.arange(12)[own])
            # A sampler that fills up gives rows again, here row 0 on every rank.
            metric.update(pred[:1], mos[:1], torch.zeros(1))
        found[f"metric {split}"] = metric.compute()
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    folder: Path = tmp_path_factory.mktemp("ranks")
    mp.spawn(run_rank, args=(str(folder),), nprocs=RANKS)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("split", SPLITS)
def test_ranks_equal_the_joint_batch(found, split: str, option: str) -> None:
    expected = step(network(), OPTIONS[option], joint_batch(split))
    assert expected["gradient"].abs().max() > 1e-3
    for rank in range(RANKS):
        measured = found[rank][f"{split} {option}"]
        assert measured.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(measured[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("split", SPLITS)
def test_chunks_on_ranks_equal_the_joint_batch(found, split: str) -> None:
    expected = step(network(), list(TERMS), joint_batch(split))
    for rank in range(RANKS):
        for name, value in expected.items():
            measured = found[rank][f"{split} chunks"][name]
            torch.testing.assert_close(measured, value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("split", SPLITS)
def test_data_sets_missing_on_a_rank_neither_hang_nor_change_the_gradient(found, split) -> None:
    expected = step_of_studies(Studies(), batch_of_studies(split))
    assert expected["gradient"][-2:].abs().min() > 1e-3  # of the second set's scale and shift
    for rank in range(RANKS):
        measured = found[rank][f"{split} studies"]
        assert measured.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(measured[name], value, rtol=1e-4, atol=1e-6)


def test_gather_orders_by_rank_and_sums_gradients(found) -> None:
    # Rank 0 holds rows 0 and 1, rank 1 rows 2, 3 and 4; the ranks' losses weigh 1 and 2.
    for rank in range(RANKS):
        assert found[rank]["gather"]["value"][:, 0].tolist() == [0, 1, 2, 3, 4]
        assert torch.equal(found[rank]["gather"]["gradient"], torch.full((2 + rank, 3), 3.0))


@pytest.mark.parametrize("split", SPLITS)
def test_metric_sees_every_row_of_every_rank_once(found, split: str) -> None:
    _, mos, pred, _ = joint_batch("equal")
    metric = CorrelationMetric()
    metric.update(pred, mos)
    expected = metric.compute()
    for rank in range(RANKS):
        torch.testing.assert_close(found[rank][f"metric {split}"], expected)


def test_gather_is_the_identity_in_one_process() -> None:
    tensor = torch.arange(3.0)
    assert gather_with_grad(tensor) is tensor
