"""Engines: what starts the processes that label. Each of them claims chunks and commits parts.

``local`` is this process or several of this machine, ``ray`` a Ray cluster. An engine is a function
``label(job, bundle, pool, chunks, tell)`` that comes back when nothing of ``chunks`` is left.
"""
