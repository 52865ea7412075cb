"""README.md of a ladder: what its labels are and are not, and how it was made."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from distill import __version__
from distill.ladder.pairs import Pair
from distill.ladder.shots import LadderRow

_LABELLED = """\
`mos` is 1 + 4 * VMAF / 100: VMAF (vmaf_v0.6.1, mean over the frames) of each version against its
reference, version 0, on the scale of opinions. **Nobody was asked.** The labels order the versions
of one content well. They know nothing of how good the reference itself is, of beauty, of what the
video shows, or of colour. The default ladder leaves out what VMAF misjudges: sharpening, which it
rewards; noise, of which it sees too little; dropped frames, which it takes for ruin. A model that
learned from this tells how far a video is from its pristine source; how it agrees with people is
for a test with people's opinions to say.
"""
_UNLABELLED = """\
A pool without labels: `mos` is empty, nothing measured VMAF. A teacher labels it:
`python pseudo_label.py pool=THIS_FOLDER/manifest.csv`.
"""


def readme(
    rows: Sequence[LadderRow],
    splits: Mapping[str, str],
    pairs: Sequence[Pair],
    doubts: Sequence[str],
    command: str,
    ffmpeg: str,
    margin: float,
) -> str:
    """The text; it holds no time and no number of workers, so that equal sets have equal texts.

    Args:
        rows: what was made.
        splits: split of every group.
        pairs: of ``pairs.csv``.
        doubts: sources that may not be pristine, a line each.
        command: that makes this set.
        ffmpeg: its version.
        margin: of the pairs.
    """
    labelled = any(row.mos is not None for row in rows)
    contents = Counter(splits[group] for group in {row.group for row in rows})
    videos = Counter(splits[row.group] for row in rows)
    kinds = Counter(pair.kind for pair in pairs)
    lines = ["# A distortion ladder", "", f"    {command}", ""]
    lines += [f"Made by Distill-VQA {__version__} with FFmpeg {ffmpeg}. Each shot is a reference"]
    lines += ["(x264 crf 13) and one version per rung of `ladder.yaml`.", "", "## Labels", ""]
    lines += [_LABELLED if labelled else _UNLABELLED, "## What is here", ""]
    lines += ["| split | contents | videos |", "|---|---|---|"]
    lines += [f"| {split} | {contents[split]} | {videos[split]} |" for split in sorted(contents)]
    lines += ["", "| processing | videos | lowest mos | mean | highest |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join(line.split()) + " |" for line in label_lines(rows)[1:]]
    lines += ["", "- `manifest.csv`: train on it with `data=manifest data.manifest=manifest.csv`."]
    lines += ["- `problems.csv`: what was left out, and why."]
    if labelled:
        lines += [
            f"- `pairs.csv`: {kinds['source']} pairs of one content (`source`) and "
            f"{kinds['nonsource']} of two (`nonsource`), whose labels differ by more than "
            f"{margin:g}; rank 1: the first is better."
        ]
    if doubts:
        lines += ["", "## Sources that may not be pristine", ""]
        lines += [f"- {doubt}" for doubt in doubts]
    return "\n".join(lines) + "\n"


def label_lines(rows: Sequence[LadderRow]) -> list[str]:
    """A table of text: videos and labels per kind of processing, with a header."""
    labels: dict[str, list[float | None]] = defaultdict(list)
    for row in rows:
        labels[row.processing].append(row.mos)
    lines = [f"{'processing':12} videos  lowest  mean  highest"]
    for kind, values in labels.items():
        known = [value for value in values if value is not None]
        figures = (min(known), sum(known) / len(known), max(known)) if known else ()
        told = " ".join(f"{figure:7.2f}" for figure in figures) or "      -       -       -"
        lines.append(f"{kind.replace(' ', '_'):12} {len(values):6} {told}")
    return lines
