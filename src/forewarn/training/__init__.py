"""Training: donor fine-tuning (``sft``), RL (``grpo``), and when to keep a checkpoint (``schedule``)."""
