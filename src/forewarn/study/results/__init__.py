"""What a run folder says: estimates, label counts, hits, transcripts and forecasts, read at any time."""
