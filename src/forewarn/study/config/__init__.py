"""A study's TOML file: its tables, reading it, and making the study that it describes."""
