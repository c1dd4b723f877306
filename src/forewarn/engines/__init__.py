"""Engines that sample and score token ids under a policy: one interface, two engines, and a check of both."""
