"""Runs a program that nobody trusts: the host's side of confined processes, and what runs inside them.

Empty on purpose: the zygote imports this package inside the sandbox and must stay small.
"""
