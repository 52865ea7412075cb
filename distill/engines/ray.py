"""Labels on the machines of a Ray cluster: shards of chunks go through Ray Data's actors.

Ray Data keeps a shard or two waiting for each worker, starts a lost worker anew, and gives it its
shard again. What the lost one committed is in the store; what it held is free at once on the same
machine, elsewhere after the lease.
"""

import json
import logging
import math
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import distill
from distill import errors
from distill.bundle import Bundle
from distill.data.places import place_of
from distill.data.pool import Pool
from distill.data.rows import Row
from distill.engines.job import Job, Labeller, Tell, Told, begun_at, rest
from distill.errors import ConfigError, EngineError
from distill.labels import Chunk
from distill.options import RayConfig

try:
    import ray
    import ray.data
    import ray.exceptions
except ImportError as error:
    raise ConfigError(f"engine=ray needs Ray ({error}): pip install 'distill-vqa[ray]'") from error

log = logging.getLogger(__name__)
_SHARD = 8  # chunks at the most: decoding starts anew with every shard
_SHARDS = 4  # for each worker at least, so that none is left with much at the end
_STORE_BYTES = 200 << 20  # of Ray's memory for objects, where it is started here: paths and counts


def label(job: Job, bundle: Bundle, pool: Pool, chunks: Sequence[Chunk], tell: Tell) -> None:
    """Label all chunks on the cluster; comes back when none is left.

    Args:
        job: what to do; ``ray`` of its options says where.
        bundle: of the teacher; each worker loads its own.
        pool: of the chunks.
        chunks: what to label.
        tell: called with the progress, shard by shard.

    Raises:
        EngineError: Ray cannot be reached or gave up.
        DistillError: what a worker ended with.
    """
    options = job.config.ray
    job = _decoding(job, max(1, int(options.cpus)))
    left = begun_at(chunks, job.config.shard)
    with _cluster(options):
        workers, gpus = _workers(options, job.config.device)
        log.info("Ray: %d workers with %g CPUs and %g GPUs each", workers, options.cpus, gpus)
        while left:
            left = _pass(job, pool, left, tell, workers, gpus)
            if left:
                log.info("%d chunks are held by other processes; waiting", len(left))
                rest(job.config.lease)


def _pass(
    job: Job, pool: Pool, chunks: Sequence[Chunk], tell: Tell, workers: int, gpus: float
) -> list[Chunk]:
    """Give every chunk to a worker once; the chunks that somebody else held meanwhile."""
    size = min(_SHARD, max(1, len(chunks) // (workers * _SHARDS)))
    shards = [chunks[at : at + size] for at in range(0, len(chunks), size)]
    items = [{"shard": _packed(shard, pool)} for shard in shards]
    done = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        _Worker,
        fn_constructor_args=(job,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=job.config.ray.cpus,
        num_gpus=gpus,
    )
    held: list[Chunk] = []
    try:
        for row in done.iter_rows():
            found = json.loads(row["found"])
            if "error" in found:
                raise getattr(errors, found["kind"])(found["error"])
            tell(Told(*found["told"]))
            if found["held"]:
                held += _unpacked(row["shard"])[0]
    except ray.exceptions.RayError as error:
        raise EngineError(
            f"engine=ray: {error}\nwhat was committed is kept; continue with store={job.store}"
        ) from error
    return held


class _Worker:
    """One of Ray's actors; loads the teacher at its first shard."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._labeller: Labeller | None = None

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Label shards; what happened is JSON, errors too: Ray would make them its own."""
        found = [json.dumps(self._label(shard)) for shard in batch["shard"]]
        return {"shard": batch["shard"], "found": np.array(found, dtype=object)}

    def _label(self, shard: str) -> dict[str, Any]:
        chunks, rows = _unpacked(shard)
        told: list[Told] = []
        try:
            self._labeller = self._labeller or Labeller(self._job)
            held = self._labeller.run(chunks, rows, told.append, patient=False)
        except errors.DistillError as error:
            return {"kind": type(error).__name__, "error": str(error)}
        return {"told": [sum(each) for each in zip(*told, strict=True)], "held": held}


def _packed(chunks: Sequence[Chunk], pool: Pool) -> str:
    """Chunks and their videos as text, for Ray's memory."""
    return json.dumps(
        [
            {
                "start": chunk.start,
                "keys": chunk.keys.hex(),
                "done": chunk.done,
                "round": chunk.round,
                "rows": [
                    (at, row.video, str(row.path), row.group)
                    for at, row in ((at, pool[at]) for at in chunk.todo)
                ],
            }
            for chunk in chunks
        ]
    )


def _unpacked(text: str) -> tuple[list[Chunk], dict[int, Row]]:
    chunks: list[Chunk] = []
    rows: dict[int, Row] = {}
    for each in json.loads(text):
        chunks.append(
            Chunk(each["start"], bytes.fromhex(each["keys"]), tuple(each["done"]), each["round"])
        )
        for at, video, path, group in each["rows"]:
            rows[at] = Row(video, place_of(path), group=group)
    return chunks, rows


def _decoding(job: Job, cores: int) -> Job:
    """With as many decoding processes as a worker has cores, unless the options say."""
    data = job.config.data
    if data.num_workers is not None:
        return job
    return replace(job, config=replace(job.config, data=replace(data, num_workers=cores)))


@contextmanager
def _cluster(options: RayConfig) -> Iterator[None]:
    """A connection to a cluster, or to one that is started here and ends with it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings: dict[str, Any] = {"address": options.address or "local"}
    if options.address is None:
        cores = math.ceil((options.workers or 1) * options.cpus)
        # Workers import this very program, whatever is installed beside it.
        found = [str(Path(distill.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        settings |= {
            "num_cpus": max(cores, os.cpu_count() or 1),
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            "runtime_env": {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, found))}},
        }
    handler = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
    try:
        _reach(options.address)
        ray.init(logging_level=logging.ERROR, **settings)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        first = str(error).strip().splitlines()[:1]
        where = f"ray.address={options.address}" if options.address else "engine=ray"
        raise EngineError(f"{where}: no Ray cluster answers: {' '.join(first)}") from error
    try:
        signal.signal(signal.SIGTERM, handler)  # Ray's own leaves without a word
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        yield
    finally:
        ray.shutdown()


def _reach(address: str | None) -> None:
    """Fail at once where nobody answers; Ray itself tries for many minutes.

    Raises:
        OSError: nobody does.
    """
    host, colon, port = (address or "").rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _workers(options: RayConfig, device: str) -> tuple[int, float]:
    """How many workers there are, and how many GPUs each of them has."""
    has = ray.cluster_resources()
    cpus, all_gpus = has.get("CPU", 0.0), has.get("GPU", 0.0)
    gpus = options.gpus
    if gpus is None:
        gpus = 1.0 if all_gpus and device != "cpu" else 0.0
    fit = int(min(cpus / options.cpus, all_gpus / gpus if gpus else math.inf))
    if options.workers and options.workers > fit:
        log.warning(
            "ray.workers=%d with %g CPUs and %g GPUs each: the cluster has %g and %g, which is"
            " enough for %d; Ray waits for more machines",
            options.workers, options.cpus, gpus, cpus, all_gpus, fit,
        )  # fmt: skip
    return options.workers or max(1, fit), gpus
