"""The code that runs inside the sandbox: the zygote and its children. It uses only the standard library.

Left empty because the zygote imports this package.
"""
