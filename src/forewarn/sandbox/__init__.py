"""Runs untrusted programs: the host's side of confined processes, and the code that runs inside them.

Left empty because the zygote imports this package inside the sandbox and must stay small.
"""
