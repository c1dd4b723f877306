"""Checks an engine's log-probs on a user's own model: whether importance weights can be trusted with them."""
