"""What the words and heads of the page mean, for those who meet them for the first time."""

from distill.report.blocks import Facts, Section
from distill.report.folder import RunFolder

HINTS = {
    "SRCC": "Spearman's rank correlation of scores and MOS: 1 is the same order, 0 is none",
    "PLCC": "Pearson's linear correlation of scores and MOS: 1 is on a straight line",
    "KRCC": "Kendall's rank correlation: pairs in the same order less those in the other, of all",
    "RMSE": "root of the mean squared difference of score and MOS, in points of the MOS",
    "GMACs": "billions of multiply-adds for one video, all its frames together; GFLOPs are twice"
    " as many",
    "MOS": "mean opinion score: what people, or the labels that stand for them, say of a video",
    "content": "the source a video was made of; its versions are alike, so that intervals leave out"
    " whole contents",
    "95% interval": "of 100 such intervals about 95 hold the value that endless contents would"
    " give",
    "told apart": "the paired 95% interval of the difference on the same contents leaves out zero",
    "fitted": "after a logistic curve fitted to these very videos, which most papers do",
    "bias": "mean of score minus MOS: above zero the model is too kind",
    "residual": "score minus MOS of one video",
    "pseudo-label": "a score by the teacher, which the student learns in the place of a MOS",
    "member": "one of the networks, or of the heads, that a teacher averages",
}
_OF_LABELS = ("pseudo-label", "member", "MOS", "SRCC")
_HEADS = {
    "95% of SRCC": "95% interval", "95% of PLCC": "95% interval", "95% of test": "95% interval",
    "val SRCC": "SRCC", "test SRCC": "SRCC", "val PLCC": "PLCC", "PLCC fitted": "fitted",
    "RMSE fitted": "fitted", "contents": "content", "verdict": "told apart",
}  # fmt: skip
_COLUMNS = {
    "same-content pairs": "share of pairs of one content in the right order; 0.5 is by chance",
    "NTIRE 2023": "mean of SRCC and of PLCC after a cubic fit",
    "mean deviation": "standard deviation over the members, in points of the MOS",
}


def hint(column: str) -> str:
    """What the head of a table's column means; empty where its name says it."""
    return _COLUMNS.get(column) or HINTS.get(_HEADS.get(column, column), "")


def words(run: RunFolder) -> Section:
    """The terms of this kind of page."""
    names = _OF_LABELS if run.kind == "pseudo_label" else tuple(HINTS)
    if run.kind in ("evaluate", "train_teacher"):
        names = tuple(name for name in names if name != "pseudo-label")
    facts = Facts([(name, f"{HINTS[name]}.") for name in names], "prose")
    return Section("words", "Words", "What this page takes for granted.", [facts])
