"""What a study's run folder holds: its tables, its manifest, and what is known of each cell."""
