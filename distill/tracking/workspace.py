"""The project's workspace in W&B: which panels stand in which section.

Every key is one that a command logs; a test holds them against real runs.
"""

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from distill.errors import TrackingError
from distill.losses import TERMS

if TYPE_CHECKING:
    from wandb_workspaces import workspaces

NAME = "Distill-VQA"
_STEP = "trainer/global_step"
_ANY_PART = "^(.*-)?"  # before a key: "fold_0-"
_COLUMNS = (
    "run:displayName", "run:group", "run:jobType", "summary:val/srcc", "summary:val/plcc",
    "summary:test/srcc", "summary:gmacs", "summary:params_m", "summary:budget",
)  # fmt: skip


def build(entity: str, project: str, job: str | None = None) -> "workspaces.Workspace":
    """The workspace, not yet saved; nothing is sent to make it.

    Args:
        entity, project: of W&B.
        job: a command: show runs of that command alone; None shows all.

    Raises:
        TrackingError: the extra ``dashboard`` is not installed.
    """
    ws = _module("wandb_workspaces.workspaces")
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"{NAME}: {job}" if job else NAME,
        sections=[
            ws.Section(name=name, panels=panels, is_open=True)
            for name, panels in _sections(_module("wandb_workspaces.reports.v2")).items()
        ],
        settings=ws.WorkspaceSettings(x_axis=_STEP, max_runs=50),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("JobType") == job] if job else [],
            groupby=[ws.Metric("Group"), ws.Metric("JobType")],
            pinned_columns=list(_COLUMNS),
        ),
    )


def outline(workspace: "workspaces.Workspace") -> str:
    """For people: the sections, and a line with each panel's title, kind and keys."""
    lines = [f"{workspace.name}, in {workspace.entity}/{workspace.project}"]
    for section in workspace.sections:
        lines += ["", section.name]
        told = [_told(panel) for panel in section.panels]
        width = max(len(title) for title, _, _ in told)
        lines += [f"  {title:{width}}  {kind}: {keys}" for title, kind, keys in told]
    return "\n".join(lines)


def _told(panel: Any) -> tuple[str, str, str]:
    """Title, kind and keys of a panel."""
    kind = type(panel).__name__
    if kind == "LinePlot":
        return panel.title, "lines", _plain(panel.metric_regex) or _names(panel.y)
    if kind == "BarPlot":
        return panel.title, "bars", _names(panel.metrics)
    if kind == "ScatterPlot":
        return panel.title, "points", f"{_names([panel.y])} over {_names([panel.x])}"
    if kind == "ParallelCoordinatesPlot":
        return panel.title, "axes", _names([column.metric for column in panel.columns])
    if kind == "MediaBrowser":
        return panel.title, "pictures", _names(panel.media_keys)
    if kind == "CustomChart":
        key = panel.query["summaryTable"]["tableKey"]
        return panel.chart_strings["title"], panel.chart_name.split("/")[1], key
    return panel.table_name, "table", panel.table_name


def _plain(regex: str | None) -> str:
    """A pattern of ``of_parts`` without its ends, which say nothing to a reader."""
    return (regex or "").removeprefix(_ANY_PART).removesuffix("$")


def _names(metrics: Sequence[Any]) -> str:
    return ", ".join(str(getattr(metric, "name", metric)) for metric in metrics)


def to_spec(workspace: "workspaces.Workspace") -> dict[str, Any]:
    """What saving a workspace would send, as JSON has it."""
    view = workspace._to_model()
    return {
        "entity": view.entity,
        "project": view.project,
        "name": view.display_name,
        "spec": view.spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def save(workspace: "workspaces.Workspace") -> str:
    """Save it as a new view of the project; its address.

    Raises:
        TrackingError: W&B refused, or did not answer.
    """
    try:
        return str(workspace.save().url)
    except Exception as error:  # of many libraries: GraphQL, HTTP, W&B's own
        raise TrackingError(
            f"W&B did not save the workspace of {workspace.entity}/{workspace.project}: {error};"
            " does the project have a run, and may you write to it?"
        ) from error


def own_entity() -> str:
    """Whose key it is: a user, or the team that is the user's default.

    Raises:
        TrackingError: W&B does not say.
    """
    import wandb

    try:
        entity = wandb.Api().default_entity
    except Exception as error:  # a wrong key, a server that answers something else
        raise TrackingError(f"W&B did not say who you are: {error}; give --entity NAME") from error
    if not entity:
        raise TrackingError("W&B knows no entity of yours; give --entity NAME")
    return str(entity)


def _sections(wr: Any) -> dict[str, list[Any]]:
    def lines(title: str, *keys: str, **options: Any) -> Any:
        return wr.LinePlot(title=title, x=_STEP, y=list(keys), **options)

    def of_parts(title: str, regex: str, **options: Any) -> Any:
        # Parts of a training (folds, stages) stand before the key: "fold_0-train/loss". With both
        # ends, or "val/srcc" would find "eval/srcc" too.
        return wr.LinePlot(title=title, x=_STEP, metric_regex=f"{_ANY_PART}{regex}$", **options)

    def against(title: str, x: str, y: str, **options: Any) -> Any:
        return wr.ScatterPlot(title=title, x=wr.SummaryMetric(x), y=wr.SummaryMetric(y), **options)

    def pictures(title: str, *keys: str) -> Any:
        return wr.MediaBrowser(title=title, media_keys=list(keys))

    def scatter(part: str) -> Any:
        return wr.CustomChart(
            query={"summaryTable": {"tableKey": f"{part}/scatter_table"}},
            chart_name="wandb/scatter/v0",
            chart_fields={"x": "mos", "y": "predicted"},
            chart_strings={"title": f"{part}: MOS and prediction"},
        )

    def residuals(part: str) -> Any:
        return wr.CustomChart(
            query={"summaryTable": {"tableKey": f"{part}/residuals_table"}},
            chart_name="wandb/histogram/v0",
            chart_fields={"value": "residual"},
            chart_strings={"title": f"{part}: predicted minus MOS"},
        )

    def table(key: str) -> Any:
        return wr.WeavePanelSummaryTable(table_name=key)

    smooth: dict[str, Any] = {"smoothing_type": "exponential", "smoothing_factor": 0.6}
    terms = "|".join(sorted(TERMS))
    return {
        "Teacher": [
            of_parts("loss of each member", "train/member_.*", **smooth),
            of_parts("validation SRCC", "val/srcc"),
            of_parts("validation PLCC", "val/plcc"),
            scatter("val"),
            residuals("val"),
            table("val/worst"),
            table("val/best"),
            table("val/table"),
        ],
        "Labelling": [
            wr.BarPlot(title="labelled, failed", metrics=["labels/labelled", "labels/failed"]),
            wr.BarPlot(title="how far members differ", metrics=["labels/spread"]),
            lines("videos a second", "labels/videos_per_second"),
            pictures("pseudo-labels", "plots/pseudo_labels", "plots/spreads"),
            table("labels/table"),
        ],
        "Student": [
            of_parts("loss by term", f"train/({terms})", **smooth),
            of_parts("loss", "train/loss", **smooth),
            of_parts("validation SRCC", "val/srcc"),
            pictures("what it learns from", "plots/targets", "plots/before_and_after",
                     "plots/kinds"),
            table("labels/choice"),
            scatter("test"),
            residuals("test"),
            table("test/worst"),
        ],
        "Pareto": [
            against("validation SRCC over GMACs", "gmacs", "val/srcc", log_x=True),
            against("test SRCC over GMACs", "gmacs", "test/srcc", log_x=True),
            against("validation SRCC over parameters", "params_m", "val/srcc", log_x=True),
            against("GMACs under the budget", "budget", "gmacs", log_x=True, log_y=True),
            wr.ParallelCoordinatesPlot(
                title="what a student costs and reaches",
                columns=[
                    wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(key))
                    for key in ("budget", "gmacs", "params_m", "minutes", "val/srcc", "test/srcc")
                ],
            ),
        ],
        "Evaluation": [
            wr.BarPlot(title="SRCC, with its 95% interval",
                       metrics=["eval/low", "eval/srcc", "eval/high"]),
            against("SRCC over GMACs", "gmacs", "eval/srcc", log_x=True),
            table("eval/models"),
        ],
        "Health": [
            of_parts("share of time that training waits for videos",
                     "train/data_wait", **smooth),
            lines("the same of labelling", "labels/data_wait"),
            wr.LinePlot(title="GPU busy, %", y=["system/gpu.0.gpu"]),
            wr.LinePlot(title="GPU memory, %", y=["system/gpu.0.memoryAllocated"]),
            wr.LinePlot(title="memory of this process, MB", y=["system/proc.memory.rssMB"]),
            wr.BarPlot(title="minutes", metrics=["minutes"]),
        ],
    }  # fmt: skip


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise TrackingError(
            f"the workspace needs {name.split('.')[0]} ({error}); pip install"
            " 'distill-vqa[dashboard]'"
        ) from error
