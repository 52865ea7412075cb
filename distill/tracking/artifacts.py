"""Sending W&B's artifacts: cards, and where asked for, the files of bundles."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distill.tracking.cards import Card

log = logging.getLogger(__name__)
_DATA_DIR = "WANDB_DATA_DIR"


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Files of artifacts wait in the run directory: W&B's own choice is the user's home.

    An offline run is then whole in its directory, whatever becomes of that home.

    Args:
        folder: the run directory.
    """
    before = os.environ.get(_DATA_DIR)
    if before is None:
        os.environ[_DATA_DIR] = str((folder / "wandb" / "data").absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ[_DATA_DIR]


def send_card(run: Any, card: Card, used: bool, folder: Path) -> None:
    """Send a card as an artifact; where W&B takes none, say so and go on.

    Args:
        run: W&B's.
        card: of the thing.
        used: whether the run takes the thing in; else it makes it.
        folder: the run directory.
    """
    import wandb

    artifact = wandb.Artifact(card.name, card.kind, metadata=card.content)
    try:
        with kept_in(folder):
            with artifact.new_file("card.json", encoding="utf-8") as file:
                file.write(card.text)
            if used:
                # What run.use_artifact does with an artifact that the server has not seen. That
                # call refuses offline, and online it waits for the server, however long.
                run._log_artifact(artifact, aliases=[], is_user_created=True, use_after_commit=True)
            else:
                run.log_artifact(artifact)
    except Exception as error:  # a graph with an arrow less is no reason to stop a training
        log.warning("W&B: no artifact %s: %s", card.name, error)


def send_files(run: Any, card: Card, bundle: Path, folder: Path) -> None:
    """Send a bundle whole, beside its card: the card is then the same with and without.

    Args:
        run: W&B's.
        card: of the bundle.
        bundle: its folder.
        folder: the run directory.
    """
    import wandb

    weights = wandb.Artifact(f"{card.name}-files", "weights", metadata=card.content)
    with kept_in(folder):
        weights.add_dir(str(bundle))
        run.log_artifact(weights)
