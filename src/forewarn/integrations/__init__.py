"""Ways into other people's trainings: what a trainer calls, one module per library."""
