"""forewarn: early warning of reward hacking, with probabilities.

Data flows one way, and each arrow is one place in the code::

    Problem -> Span -> Completion -> Verdict -> log-ratios -> Estimate -> Trend -> Alert
"""

__version__ = "0.1.0"
