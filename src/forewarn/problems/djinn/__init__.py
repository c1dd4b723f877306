"""Djinn problems in and out. Djinn is the benchmark of the study; its files come in several layouts.

``files.load`` reads any of them, ``files.export`` writes them back, ``row.from_row`` and ``row.to_row`` do one problem.
Nothing of a problem is run here, and nothing is dropped: the row as read stays in ``Problem.extra``.
"""
