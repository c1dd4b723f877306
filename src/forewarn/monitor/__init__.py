"""What is said of a run while it goes on: alerts of its current answer, and the sinks that they are posted to."""
