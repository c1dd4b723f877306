"""Exact worlds: small token processes whose every probability is known by enumeration.

Shipped so that tests, benchmarks and users can judge any estimator against the truth. Not used by any estimate.
"""

from forewarn.worlds.catalogue import WORLDS, build
from forewarn.worlds.draw import Draws, draw, draw_units
from forewarn.worlds.process import Channel, TokenModel, Tree, enumerate_tree
from forewarn.worlds.world import World, make_world

__all__ = [
    "WORLDS",
    "Channel",
    "Draws",
    "TokenModel",
    "Tree",
    "World",
    "build",
    "draw",
    "draw_units",
    "enumerate_tree",
    "make_world",
]
