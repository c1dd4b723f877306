"""Planning a study: a pilot in a run folder of its own, counts from it, and what the study will then give."""
