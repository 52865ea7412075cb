"""Who labels: a process as others see it, and whether it is still alive."""

import json
import os
import platform
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A process that labels.

    Attributes:
        id: random.
        host: name of its machine, for people.
        machine: what tells whether a process number of its means anything here: the boot of the
            kernel and the name space of its processes, so that containers with one host name
            are apart.
        pid: process number.
        started: when the process was, as the kernel counts it: numbers are used again.
    """

    id: str
    host: str
    machine: str
    pid: int
    started: str

    @classmethod
    def here(cls) -> "Owner":
        """This process, under a new id."""
        pid = os.getpid()
        return cls(uuid.uuid4().hex, platform.node(), _machine(), pid, _started(pid) or "")

    @classmethod
    def from_json(cls, text: str) -> "Owner | None":
        """As ``to_json`` wrote it; None for anything else, as a file that is still written."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def is_dead(self) -> bool:
        """Whether its process is known to have ended; of another machine's nothing is known."""
        return self.machine == _machine() and _started(self.pid) != self.started

    def __str__(self) -> str:
        return f"process {self.pid} of {self.host}"


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux
        return platform.node()


def _started(pid: int) -> str | None:
    """When a process of this machine began, '' where that is not told; None: it has ended."""
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:  # another user's
            return ""
        return ""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # After the name, which may hold blanks and brackets: state, and 19 fields on the start time.
    state, *fields = text.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
