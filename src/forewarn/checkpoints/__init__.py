"""Finds a training run's checkpoints, tells whether they are whole, loads them, and identifies their files by hash."""
