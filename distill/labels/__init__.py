"""The label store and its claim-and-commit protocol. No engine is known here; engines call it.

A process that labels does this, whichever engine started it:

    store = LabelStore.open(folder, meta)
    chunks = plan(keys_of(paths), store.index(), size=32)
    with Claims(store.folder, chunks) as claims:
        while (chunk := claims.claim_next()) is not None:
            claims.commit(chunk, [label(rows[at]) for at in chunk.todo])

A chunk is a few hundred bytes and holds no file, so it may be sent to a worker elsewhere, who needs
it, its rows and the store's path: ``Claims(folder, [chunk])``.
"""

from distill.labels.chunks import Chunk, plan
from distill.labels.claims import Claims
from distill.labels.rows import Label, keys_of, member_std
from distill.labels.store import META, LabelStore, find_store

__all__ = [
    "META", "Chunk", "Claims", "Label", "LabelStore", "find_store", "keys_of", "member_std", "plan",
]  # fmt: skip
