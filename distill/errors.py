"""Errors whose text is the whole message for the user: what is wrong, where, and what to do."""

import signal
from pathlib import Path


class DistillError(Exception):
    """A problem that the user can mend; doors print its text without a traceback."""

    exit_code = 2


class ConfigError(DistillError):
    """An option is unknown, has the wrong type, or lies outside its range."""


class ManifestError(DistillError):
    """A table of videos cannot be used; the text names the file, the row and the value."""


class WeightsError(DistillError):
    """Weights are missing or do not fit; the text says which file to put where."""


class MissingWeightsError(WeightsError):
    """There are no such weights on this machine, and none could be fetched."""


class BudgetError(DistillError):
    """A model costs more than the cap; raised before any training."""

    exit_code = 3


class BundleError(DistillError):
    """A bundle is missing, incomplete, damaged, or not made by this program."""


class ReportError(DistillError):
    """A folder is not what a run leaves, so there is nothing to report."""


class ExportError(DistillError):
    """An exported network does not do what it should, so it is not kept."""

    exit_code = 1


class LabelStoreError(DistillError):
    """A label store cannot be read, or belongs to another teacher."""


class TrackingError(DistillError):
    """W&B cannot be reached, or did not do what was asked of it; never raised by a training."""


class StoreFullError(LabelStoreError):
    """No space is left for labels; what was committed is kept, and the next start goes on."""

    exit_code = 4


class EngineError(DistillError):
    """The processes that label cannot go on; the text says what is kept and how to continue."""

    exit_code = 1


class CacheError(DistillError):
    """Cached features cannot be written."""


class SpoolError(DistillError):
    """Remote videos find no place on this machine while they are decoded."""

    exit_code = 4


class OutputError(DistillError):
    """A file of scores cannot be written any further; what was written is kept."""

    exit_code = 4


class VideoError(DistillError):
    """One video cannot be decoded. Datasets turn it into a row with a reason, never a crash.

    Args:
        path: the file.
        reader: name of the reader that failed (``decord``, ``pyav``); empty where none was asked.
        reason: one line; longer native messages are cut to 200 characters.
    """

    def __init__(self, path: str | Path, reader: str, reason: str) -> None:
        reason = " ".join(str(reason).split())[:200]
        super().__init__(": ".join(part for part in (str(path), reader, reason) if part))
        self.path, self.reader, self.reason = str(path), reader, reason

    def __reduce__(self) -> tuple[type["VideoError"], tuple[str, str, str]]:
        return VideoError, (self.path, self.reader, self.reason)


def why(error: VideoError | OSError) -> str:
    """The reason in the row of a video that could not be read, one line without its path."""
    if isinstance(error, VideoError):
        return f"{error.reader}: {error.reason}"
    return str(error.strerror or error)


class TrainingError(DistillError):
    """Training cannot go on; the text says which option to change."""

    exit_code = 1


class MemberError(DistillError):
    """A member of a teacher cannot run here; the text names it and what to change."""

    exit_code = 1


class Interrupted(DistillError):
    """A signal stopped the run; the text says what is kept and how to go on.

    Args:
        text: the message.
        number: of the signal; the exit code is 128 more, as shells have it.
    """

    def __init__(self, text: str, number: int = signal.SIGINT) -> None:
        super().__init__(text)
        self.exit_code = 128 + number

    @classmethod
    def by(cls, stop: KeyboardInterrupt, text: str) -> "Interrupted":
        """From what the commands' signal handlers raise: its argument is the signal, if not 2."""
        return cls(text, *stop.args)
