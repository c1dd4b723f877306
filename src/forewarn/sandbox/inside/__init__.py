"""What runs inside the sandbox: the zygote and its children. Standard library alone, and nothing that imports more.

Empty on purpose, as the zygote imports it.
"""
