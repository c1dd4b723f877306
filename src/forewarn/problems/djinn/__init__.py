"""Reads and writes Djinn problems. Djinn is the benchmark of the published study; its files have several layouts.

``files.load`` reads any of them and ``files.export`` writes them; ``row.from_row`` and ``row.to_row`` convert one
problem. These modules never run a problem's code, and keep every field: the row as read stays in ``Problem.extra``.
"""
