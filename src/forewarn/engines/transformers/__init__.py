"""The reference engine: any causal language model that transformers loads, with adapters."""
