"""The subject that a study's file describes: its examples, the receipt of its training, and the training."""
