"""When the frames are shown that have scores."""

import numpy as np
import pytest

from distill.data.identity import seed_of
from distill.data.reader import VideoInfo
from distill.data.timeline import timeline
from distill.data.views import Fragments, KeyFrames, MotionChunks, View

TEN_SECONDS = VideoInfo(250, 25.0, 64, 48, duration=10.0)


def test_key_frames_are_in_the_middle_of_equal_parts() -> None:
    found = timeline({"frames": KeyFrames(5, 32)}, TEN_SECONDS, "x", 5)
    assert found is not None and found.seconds == [1.0, 3.0, 5.0, 7.0, 9.0]  # frames 25, 75 ...
    assert (found.wanted, found.distinct, found.few) == (5, 5, False)


def test_the_first_view_counts() -> None:
    views: dict[str, View] = {"b": KeyFrames(1, 32), "a": KeyFrames(5, 32)}
    found = timeline(views, TEN_SECONDS, "x", 1)
    assert found is not None and found.seconds == [5.0]


def test_a_clip_is_at_the_mean_of_its_frames() -> None:
    found = timeline({"motion": MotionChunks(2, 4, 32)}, TEN_SECONDS, "x", 2)
    # From seconds 0 and 1 on, four frames each, whose mean is 1.5 frames later.
    assert found is not None and found.seconds == pytest.approx([0.06, 1.06])


def test_drawn_clips_are_those_that_evaluation_draws() -> None:
    view = Fragments(2, 32, num_clips=3, clip_len=4, frame_interval=2)
    found = timeline({"fragments": view}, TEN_SECONDS, "content", 3)
    slots = view.begin(TEN_SECONDS, seed_of("content"), False).indices
    expected = np.mean(np.reshape(slots, (3, 4)), axis=1) / 25
    assert found is not None and found.seconds == pytest.approx(expected.tolist())


def test_what_nobody_knows_is_none() -> None:
    still = VideoInfo(250, 0.0, 64, 48)
    found = timeline({"frames": KeyFrames(2, 32)}, still, "x", 2)
    assert found is not None and found.seconds == [None, None]
    found = timeline({"frames": KeyFrames(5, 32)}, TEN_SECONDS, "x", 2)  # 5 frames, 2 scores
    assert found is not None and found.seconds == [None, None]
    # Black frames at the end have no time.
    short = VideoInfo(40, 25.0, 64, 48)
    padded = KeyFrames(4, 32, sampling="second_start", padding="zero")
    found = timeline({"frames": padded}, short, "x", 4)
    assert found is not None and found.seconds == [0.0, 1.0, None, None]


@pytest.mark.parametrize(("frames", "few"), [(1, True), (3, True), (4, False), (8, False)])
def test_few_frames_are_less_than_half_of_what_the_network_asks_for(frames: int, few: bool) -> None:
    found = timeline({"frames": KeyFrames(8, 32)}, VideoInfo(frames, 25.0, 64, 48), "x", 8)
    assert found is not None and (found.distinct, found.few) == (frames, few)
