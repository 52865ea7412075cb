"""What a video is, whatever it is called: a hash of its content that never reads a whole file."""

import hashlib
from pathlib import Path

_EDGE = 1 << 20  # bytes read at the start and at the end
_BLOCK = 1 << 16  # bytes read at each of the places between
_PLACES = 16


def content_hash(path: Path) -> str:
    """A 32-digit hexadecimal hash of a file's content, the same under any name.

    Reads the first and the last MiB and 16 blocks of 64 KiB spread between them, at most 3 MiB;
    files up to that size are hashed whole. So a larger file that was changed in place between
    them, and kept its size, has the same hash.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    size = path.stat().st_size
    digest.update(size.to_bytes(8, "little"))
    with path.open("rb") as file:
        if size <= 2 * _EDGE + _PLACES * _BLOCK:
            digest.update(file.read())
            return digest.hexdigest()
        starts = [_EDGE + k * (size - 2 * _EDGE - _BLOCK) // (_PLACES - 1) for k in range(_PLACES)]
        for start, length in [(0, _EDGE), *((s, _BLOCK) for s in starts), (size - _EDGE, _EDGE)]:
            file.seek(start)
            digest.update(file.read(length))
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """Checksum of a whole file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seed_of(*parts: str | int) -> int:
    """A 63-bit seed that depends on every part and on nothing else (not on the process)."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
