"""The protocol's scores: concordance within runs, proper scores, coverage, alarms, each with its interval by run."""
