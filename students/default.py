"""Which student a command takes when the user names none."""

from distill.weights import available

SWIN_T = "swin_tiny_patch4_window7_224"


def default_student() -> tuple[str, str]:
    """The Swin-T where its ImageNet weights can be had, else the compact student.

    Returns:
        The choice of ``student=`` and one line that says why.
    """
    info, why = available(SWIN_T)
    if info is not None:
        return "swin_t", f"the Swin-T, ImageNet weights from the {info.source} ({info.detail})"
    return (
        "compact",
        "EfficientNet-Lite0, NOT the Swin-T, whose ImageNet weights cannot be had here\n"
        f"why: {why}\nto have the Swin-T all the same: student=swin_t student.weights=FILE",
    )
