"""The donors that a study's file describes: training them, and trying each one alone."""
