"""A hand-held camera over a photograph: pan, zoom, shake and sensor noise, all from a seed.

A still cannot show what moves in a scene, but codecs, scalers and quality models see what a real
clip gives them: subpixel motion of real texture, and grain that differs from frame to frame.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

# Output pixels per pixel of the photograph. More than this looks out of focus.
_MAGNIFY = 1.25
_ZOOM = 1.6
# Farthest way of the window during the shot, as a fraction of its own sides.
_TRAVEL = 0.25
# Largest excursion of the hand, as a fraction of the frame's short side.
_SHAKE = 0.008
# Standard deviation of the sensor noise on the 0..255 scale, drawn per shot.
_NOISE = (0.6, 2.2)


def camera_path(
    photo: tuple[int, int],
    size: tuple[int, int],
    num_frames: int,
    fps: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Where the camera looks: one window of the photograph per frame.

    The window glides from one drawn place and zoom to another, easing in and out, while the hand
    adds slow sines. It always has the aspect of ``size`` and never leaves the photograph.

    Args:
        photo: width and height of the photograph in pixels.
        size: width and height of the film in pixels.
        num_frames: T, >= 1.
        fps: frames per second, > 0; the shake is a motion in time.
        rng: draws the path.

    Returns:
        (T, 4) float64: left, top, right, bottom in pixels of the photograph.
    """
    if num_frames < 1 or fps <= 0 or min(*photo, *size) < 1:
        raise ValueError(f"nothing to film: {photo=}, {size=}, {num_frames=}, {fps=}")
    room, film = np.asarray(photo, dtype=np.float64), np.asarray(size, dtype=np.float64)
    time = np.arange(num_frames) / fps
    phase = np.linspace(0, 1, num_frames)
    ease = (phase * phase * (3 - 2 * phase))[:, None]

    margin = _SHAKE * film.min()
    widest = float(np.min(room / (film + 2 * margin)))
    limit = float(np.clip(_MAGNIFY * widest, 1.02, _ZOOM))
    zoom = rng.uniform(1.0, limit, size=(2, 1))

    # Fractions of the room that the window has, about its middle, so that a pan passes over the
    # subject and stays slow enough for the eye.
    free = np.maximum(room - film * widest, 1e-9)
    reach = np.minimum(0.3, _TRAVEL / 2 * film * widest / free)
    half = reach * rng.uniform(0.4, 1.0, size=2) * rng.choice((-1.0, 1.0), size=2)
    place = rng.uniform(0.3, 0.7, size=2) + half * np.array([[-1.0], [1.0]])

    scale = widest / (zoom[0] + (zoom[1] - zoom[0]) * ease)
    window = film * scale
    travel = place[0] + (place[1] - place[0]) * ease
    border = margin * scale
    hand = _hand(time, rng) * rng.uniform(0.2, 1.0)
    corner = border + travel * (room - window - 2 * border) + hand * border
    return np.concatenate([corner, corner + window], axis=1)


def film(
    photo: np.ndarray, size: tuple[int, int], num_frames: int, fps: float, seed: int
) -> Iterator[np.ndarray]:
    """Film a photograph.

    Args:
        photo: (H, W, 3) uint8 RGB.
        size: width and height of the film in pixels.
        num_frames: frames to yield, >= 1.
        fps: frames per second, > 0.
        seed: determines path and noise.

    Yields:
        (height, width, 3) uint8 RGB frames; resampled bicubically with antialiasing, then given
        fresh luminance noise. A grey photograph stays grey.
    """
    rng = np.random.default_rng(seed)
    image = Image.fromarray(photo)
    width, height = size
    path = camera_path(image.size, size, num_frames, fps, rng)
    sigma = np.float32(rng.uniform(*_NOISE))
    for box in path:
        # A rounding error of the last digit may push the box out; Pillow refuses it then.
        box = np.clip(box, 0, [*image.size, *image.size])
        frame = image.resize(size, Image.Resampling.BICUBIC, box=tuple(box.tolist()))
        noise = rng.standard_normal((height, width, 1), dtype=np.float32) * sigma
        yield np.rint(np.asarray(frame) + noise).clip(0, 255).astype(np.uint8)


def _hand(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(T, 2) excursions in [-1, 1]: sines of 0.5 to 6 Hz, weaker the faster they are."""
    rate = rng.uniform([[0.5], [1.0], [2.0], [4.0]], [[1.0], [2.0], [4.0], [6.0]], size=(4, 2))
    start = rng.uniform(0, 2 * np.pi, size=(4, 2))
    weight = 1 / rate
    waves = np.sin(2 * np.pi * rate * time[:, None, None] + start) * weight
    return waves.sum(axis=1) / weight.sum(axis=0)
