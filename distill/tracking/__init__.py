"""What a run reports, and how Weights & Biases shows it: the only room that knows W&B."""

from distill.tracking.csv_log import metric_files
from distill.tracking.modes import resolve_mode
from distill.tracking.tracker import Tracker, finish

__all__ = ["Tracker", "finish", "metric_files", "resolve_mode"]
