"""Engines that sample and score token ids under a policy: one contract, two implementations, and the check of both."""
