"""The judge: (Problem, code) -> Verdict, in a sandbox. Import from ``forewarn.judge.judge``.

Left empty because the zygote imports this package inside the sandbox and must stay small.
"""
