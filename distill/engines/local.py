"""Labels on this machine: in this process, or in several, each with a device of its own."""

import logging
import signal
import threading
from collections.abc import Sequence
from functools import partial
from multiprocessing import active_children
from types import TracebackType
from typing import Any, NoReturn

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch.multiprocessing import ProcessExitedException, get_context

from distill.bundle import Bundle
from distill.config import PseudoLabelConfig
from distill.data.pool import Pool
from distill.engines.job import Job, Labeller, Tell, Told, begun_at
from distill.errors import ConfigError, DistillError, EngineError
from distill.inference import pick_device
from distill.labels import Chunk

log = logging.getLogger(__name__)
_LOSSES = 3  # of processes, before their cause is taken to stay
_GRACE = 60.0  # seconds to commit what is labelled


def label(job: Job, bundle: Bundle, pool: Pool, chunks: Sequence[Chunk], tell: Tell) -> None:
    """Label all chunks; comes back when none is left.

    Args:
        job: what to do; ``devices`` of its options says in how many processes.
        bundle: of the teacher, loaded.
        pool: of the chunks.
        chunks: what to label.
        tell: called with the progress.

    Raises:
        ConfigError: there are not so many devices.
        EngineError: processes were lost again and again.
        LabelStoreError: a part cannot be written.
    """
    count = processes(job.config)
    if count == 1:
        Labeller(job, bundle).run(begun_at(chunks, job.config.shard), pool, tell)
        return
    log.info("%d processes label, each on a device of its own", count)
    for losses in range(1, _LOSSES + 1):
        try:
            _launch(job, pool, chunks, tell, count)
            return
        except ProcessExitedException as error:
            told = f"{error}; what was committed is kept"
            if losses == _LOSSES:
                raise EngineError(
                    f"{told}. {losses} processes were lost, so the cause remains: take fewer"
                    f" devices or a smaller batch_size, and continue with store={job.store}"
                ) from error
            log.warning("%s; all processes start again", told)


def processes(config: PseudoLabelConfig) -> int:
    """How many processes ``devices`` means here.

    Raises:
        ConfigError: not so many GPUs, or more than one process on a device that has a number.
    """
    device = pick_device(config.device)
    gpus = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 1
    if config.devices == "auto":
        return gpus
    if config.devices > gpus and device.type != "cpu":
        raise ConfigError(f"devices={config.devices}: device={config.device} has {gpus}")
    return int(config.devices)


class _Apart(DDPStrategy):
    """A process for each device, and no process group: the store is all that they share.

    Nothing is gathered or waited for, so that one which ends or hangs holds up no other.
    """

    def setup_environment(self) -> None:
        assert self.accelerator is not None
        self.accelerator.setup_device(self.root_device)


def _launch(job: Job, pool: Pool, chunks: Sequence[Chunk], tell: Tell, count: int) -> None:
    fabric = Fabric(
        accelerator=pick_device(job.config.device).type,
        devices=count,
        strategy=_Apart(start_method="spawn"),  # CUDA does not survive a fork
        plugins=[LightningEnvironment()],  # whatever SLURM says: this launches by itself
    )
    mine = set(active_children())
    with _Relay(tell) as relay:
        try:
            # One function: Lightning would look through arguments for tensors, item by item.
            fabric.launch(partial(_work, job=job, pool=pool, chunks=chunks, queue=relay.queue))
        except BaseException:
            _end([child for child in active_children() if child not in mine])
            raise
    if relay.errors:
        raise relay.errors[0]


def _work(fabric: Fabric, job: Job, pool: Pool, chunks: Sequence[Chunk], queue: Any) -> None:
    """What each of the processes does."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    count = fabric.strategy.num_processes  # type: ignore[attr-defined]
    try:
        labeller = Labeller(job, device=str(fabric.device), processes=count)
        mine = begun_at(chunks, job.config.shard * count + fabric.local_rank)
        # To one of several processes the others' work is elsewhere, but to the command it is not.
        labeller.run(mine, pool, lambda told: queue.put(told._replace(elsewhere=0)))
    except DistillError as error:
        queue.put(error)
    except KeyboardInterrupt as stop:
        raise SystemExit(128 + signal.SIGTERM) from stop  # or it would look like done


def _stop(number: int, frame: object) -> NoReturn:
    """The first signal ends the work; a second must not disturb the commit that follows."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def _end(children: Sequence[Any]) -> None:
    for child in children:
        child.terminate()
    for child in children:
        child.join(_GRACE)
        if child.is_alive():
            child.kill()


class _Relay:
    """Passes on what other processes tell, while this one waits for them; a context manager.

    Args:
        tell: called in a thread of its own.

    Attributes:
        queue: for the other processes.
        errors: that they ended with, or that telling did.
    """

    def __init__(self, tell: Tell) -> None:
        self.queue = get_context("spawn").SimpleQueue()
        self.errors: list[Exception] = []
        self._tell, self._ended = tell, threading.Event()
        self._thread = threading.Thread(target=self._pass_on, name="progress", daemon=True)

    def __enter__(self) -> "_Relay":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _pass_on(self) -> None:
        # Looked at again and again: a process that was killed while it held the queue's lock would
        # keep a last message of ours from getting through.
        while True:
            ended = self._ended.is_set()
            while not self.queue.empty():
                told = self.queue.get()
                if not isinstance(told, Told):
                    self.errors.append(told)
                    continue
                try:
                    self._tell(told)
                except Exception as error:  # a full disk, say; a full queue would stop the others
                    self.errors.append(error)
                    self._tell = lambda told: None
            if ended:
                return
            self._ended.wait(0.2)
