"""Chat formats with a reasoning channel; no other package knows about chat formats.

A format is data (``families.py``). Bound to a tokenizer (``bind``), it renders prompts to ids and finds the channels in
a completion's ids. It decodes text only in order to read an answer. Not here: sampling.
"""

from forewarn.formats.anchors import anchor_ids, anchor_starts
from forewarn.formats.bound import Case, Channels, Split, bind, named_format
from forewarn.formats.code import CodeRule, extract_code
from forewarn.formats.families import FORMATS, ChannelFormat
from forewarn.formats.template import TemplateCheck, check_template, detect_format

__all__ = [
    "FORMATS",
    "Case",
    "ChannelFormat",
    "Channels",
    "CodeRule",
    "Split",
    "TemplateCheck",
    "anchor_ids",
    "anchor_starts",
    "bind",
    "check_template",
    "detect_format",
    "extract_code",
    "named_format",
]
