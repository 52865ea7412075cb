"""Make the W&B workspace of this project's runs, or send the runs that wait on this machine.

python dashboard.py                                     a new view of project distill-vqa
python dashboard.py --project P --entity E --job train_student
python dashboard.py --print                             its sections and panels; no network
python dashboard.py --print --json                      what would be sent, as JSON
python dashboard.py --sync outputs                      send every offline run, in order
python dashboard.py --sync outputs --print              only list them

docs/tracking.md says what is logged under which key, and what leaves this machine.
"""

import argparse
import json
from collections.abc import Sequence

from distill.config import SCHEMAS, folder
from distill.errors import TrackingError
from distill.flags import Parser
from distill.options import TrackingConfig

_ANY_ENTITY = "ENTITY"  # stands in a printed workspace where none was named


def run(words: Sequence[str]) -> int:
    """Do what the options say; exit code 0.

    Args:
        words: the command line, without the program's name.

    Raises:
        TrackingError: no key, no network, nothing to send, or W&B refused.
    """
    parser = _parser()
    options = parser.parse_args(words)
    if options.json and (not options.print or options.sync is not None):
        parser.error("--json needs --print, and cannot be combined with --sync")
    # Lightning takes seconds, and --help need not wait.
    from distill.tracking import workspace
    from distill.tracking.privacy import no_error_reports

    no_error_reports()
    if options.sync is not None:
        _sync(options)
        return 0

    project = options.project or TrackingConfig.project
    if options.print:
        made = workspace.build(options.entity or _ANY_ENTITY, project, options.job)
        spec = options.json
        print(json.dumps(workspace.to_spec(made), indent=2) if spec else workspace.outline(made))
        return 0
    workspace.build(_ANY_ENTITY, project)  # what is not installed comes before what is not reached
    _need_server("`python dashboard.py --print` shows the workspace without it")
    entity = options.entity or workspace.own_entity()
    print(workspace.save(workspace.build(entity, project, options.job)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="dashboard.py",
        description=__doc__,
    )
    parser.add_argument("--project", help=f"project of W&B (default {TrackingConfig.project})")
    parser.add_argument("--entity", help="user or team of W&B; default: your own")
    parser.add_argument("--job", choices=list(SCHEMAS), help="show the runs of one command only")
    parser.add_argument("--sync", metavar="FOLDER", help="send the offline runs below this folder")
    parser.add_argument(
        "--print", "--dry-run", action="store_true", help="show what would be sent; send nothing"
    )
    parser.add_argument(
        "--json", action="store_true", help="with --print: the whole workspace as JSON"
    )
    return parser


def _sync(options: argparse.Namespace) -> None:
    from distill.tracking import sync

    outputs = folder(options.sync)
    runs = sync.offline_runs(outputs)
    if not runs:
        raise TrackingError(
            f"--sync {options.sync}: no offline run below it; runs with tracking.mode=offline, or"
            " without a W&B key, leave one in RUN/wandb"
        )
    for run in runs:
        for piece in run.pieces:
            print(f"{'sent' if run.sent else 'waits':6}{piece}", flush=True)
    if options.print:
        return
    if all(run.sent for run in runs):
        print("all of them have been sent before")
        return
    _need_server("the runs wait where they are")
    sync.sync(runs, options.project, options.entity)


def _need_server(meanwhile: str) -> None:
    from distill.tracking.modes import why_unreachable

    if reason := why_unreachable():
        raise TrackingError(
            f"W&B cannot be reached: {reason}. Log in with `wandb login`, or set WANDB_API_KEY, and"
            f" WANDB_BASE_URL if the server is your own; {meanwhile}"
        )
