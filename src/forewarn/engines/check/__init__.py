"""Checks an engine's log-probs on a user's own model: whether importance weights from it can be trusted."""
