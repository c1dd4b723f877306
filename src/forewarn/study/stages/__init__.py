"""The stages of a study: completions, submissions, verdicts, scores, estimates; and the loop that runs them."""
