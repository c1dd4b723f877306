"""The checkpoint layouts of trainers, in one dict. The first that fits a folder is the folder's."""

from __future__ import annotations

from forewarn.checkpoints.layouts.base import Layout, Spot
from forewarn.checkpoints.layouts.nemo_rl import NEMO_RL
from forewarn.checkpoints.layouts.open_instruct import OPEN_INSTRUCT
from forewarn.checkpoints.layouts.openrlhf import OPENRLHF
from forewarn.checkpoints.layouts.plain import PLAIN
from forewarn.checkpoints.layouts.prime_rl import PRIME_RL, PRIME_RL_DCP
from forewarn.checkpoints.layouts.skyrl import SKYRL
from forewarn.checkpoints.layouts.tinker import TINKER
from forewarn.checkpoints.layouts.torchtune import TORCHTUNE, TORCHTUNE_DCP
from forewarn.checkpoints.layouts.trl import TRL
from forewarn.checkpoints.layouts.verl import VERL_FSDP, VERL_MEGATRON

LAYOUTS: dict[str, Layout] = {
    "trl": TRL,
    "openrlhf": OPENRLHF,
    "verl-megatron": VERL_MEGATRON,
    "verl-fsdp": VERL_FSDP,
    "skyrl": SKYRL,
    "prime-rl": PRIME_RL,
    "prime-rl-dcp": PRIME_RL_DCP,
    "open-instruct": OPEN_INSTRUCT,
    "nemo-rl": NEMO_RL,
    "torchtune": TORCHTUNE,
    "torchtune-dcp": TORCHTUNE_DCP,
    "tinker-cookbook": TINKER,
    "plain": PLAIN,
}

__all__ = ["LAYOUTS", "Layout", "Spot"]
