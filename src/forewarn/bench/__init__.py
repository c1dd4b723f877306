"""The foresight benchmark: base models with leaders and followers, RL runs of a frozen design, and their truth."""
