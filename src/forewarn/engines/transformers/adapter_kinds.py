"""Which PEFT adapters are accepted: an allow-list of types, and for each type of the options that it may be saved with.

Every other type, and every other option that is switched on, is refused by name, so that types and options of a newer
PEFT are refused until they are known to give the right result. ``tests/engines/test_adapter_kinds.py`` goes through
every type and option of the installed PEFT. Not here: merging (``adapter_merge.py``).
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from forewarn.checkpoints.receipts import adapter_config
from forewarn.errors import ModelError

_ABOUT = {
    "peft_type",
    "task_type",
    "auto_mapping",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "peft_version",
}
"""entries that say what an adapter is and where it comes from, without any effect on its result"""
_LAYERS = {"target_modules", "layers_to_transform", "layers_pattern"}
_PLACES = _LAYERS | {"exclude_modules", "modules_to_save"}
_LINEAR = _PLACES | {"fan_in_fan_out", "init_weights"}
_LYCORIS = _PLACES | {
    "r",
    "alpha",
    "rank_pattern",
    "alpha_pattern",
    "rank_dropout",
    "module_dropout",
    "use_effective_conv2d",
    "init_weights",
}
_FROM_A_SEED = {"projection_prng_key", "save_projection"}
_LORA = _PLACES | {
    "r",
    "lora_alpha",
    "lora_dropout",
    "rank_pattern",
    "alpha_pattern",
    "use_rslora",
    "use_dora",
    "fan_in_fan_out",
    "target_parameters",
    "trainable_token_indices",
    "ensure_weight_tying",
    # of an initialisation or a way of training, without any effect on the saved weights
    "eva_config",
    "corda_config",
    "lora_ga_config",
    "loftq_config",
    "qalora_group_size",
    "megatron_core",
    "runtime_config",
}
_SCHEDULE = {"target_r", "init_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "total_step"}

KINDS: Mapping[str, frozenset[str]] = {
    kind: frozenset(options)
    for kind, options in {
        "LORA": _LORA,
        "ADALORA": (_LORA | _SCHEDULE) - {"use_dora", "target_parameters"},
        "BOFT": _LINEAR | {"boft_block_size", "boft_block_num", "boft_n_butterfly_factor", "boft_dropout"},
        "C3A": _PLACES | {"block_size", "block_size_pattern", "init_weights"},
        "DELORA": _PLACES | {"r", "rank_pattern", "lambda_pattern", "delora_lambda", "module_dropout", "init_weights"},
        "FOURIERFT": _LINEAR | {"n_frequency", "n_frequency_pattern", "scaling", "random_loc_seed"},
        "GLORA": _PLACES | {"r", "config_A_B", "config_C", "config_D_E", "init_weights"},
        "GRALORA": _LINEAR | {"r", "hybrid_r", "alpha", "gralora_k", "gralora_dropout"},
        "HIRA": _LINEAR | {"r", "rank_pattern", "hira_dropout"},
        "HRA": _PLACES | {"r", "apply_GS", "init_weights"},
        "IA3": (_PLACES - _LAYERS) | {"target_modules", "feedforward_modules", "fan_in_fan_out", "init_ia3_weights"},
        "LN_TUNING": {"target_modules", "exclude_modules"},
        "LOHA": _LYCORIS,
        "LOKR": _LYCORIS | {"decompose_both", "decompose_factor", "rank_dropout_scale"},
        "MISS": _PLACES | {"r", "mini_r", "miss_dropout", "init_weights"},
        "OFT": _LINEAR
        | {
            "r",
            "oft_block_size",
            "module_dropout",
            "coft",
            "eps",
            "block_share",
            "use_cayley_neumann",
            "num_cayley_neumann_terms",
        },
        "PEANUT": _PLACES | {"r", "depth", "act_fn", "scaling", "init_weights"},
        "RANDLORA": _LINEAR | _FROM_A_SEED | {"r", "randlora_alpha", "randlora_dropout", "sparse", "very_sparse"},
        "ROAD": {"target_modules", "modules_to_save", "variant", "group_size", "init_weights"},
        "TRAINABLE_TOKENS": {"target_modules", "token_indices", "init_weights"},
        "UNILORA": _LINEAR
        | {"r", "proj_seed", "theta_d_length", "unilora_dropout", "init_theta_d_bound", "save_indices"},
        "VERA": _LINEAR | _FROM_A_SEED | {"r", "d_initial", "vera_dropout"},
        "WAVEFT": _LINEAR
        | {
            "n_frequency",
            "n_frequency_pattern",
            "scaling",
            "wavelet_family",
            "use_idwt",
            "random_loc_seed",
            "proportional_parameters",
        },
    }.items()
}
"""type -> options that may have any value"""

INIT = "init_lora_weights"
PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal", "mica")
"""initialisations of a LoRA's weights that leave the base unchanged, so that the saved weights are sufficient"""
REWRITING_STARTS = ("pissa", "olora")
"""initialisations that take the LoRA out of the base's weights; PEFT repeats this, with the same result, on loading"""

_WHY = {
    "bias": "which contains new biases of the base",
    "lora_bias": "which gives layers biases that the base may not have",
    "layer_replication": "which runs through layers of the base more than once",
    "alora_invocation_tokens": "whose change begins in the middle of a row",
    "monteclora_config": "which draws at random in every forward pass",
    INIT: "whose initialisation rewrites the base in a way that can't be repeated from the base alone",
}
_REMEDY = "merge it into a full model first"
_CONVERT = "save it with PEFT's path_initial_model_for_weight_conversion"
_RANDOM_SEEDS = {"random_loc_seed"}
"""options without which PEFT would draw an adapter's weights at random at every load"""


def read_kind(folder: Path) -> PeftConfig:
    """Return the settings of the adapter in ``folder``. Raises ModelError if they are unreadable or not accepted."""
    saved = adapter_config(folder)
    kind = saved.get("peft_type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ModelError(
            f"the adapter in {folder} is of type {kind}, which this engine doesn't accept (it accepts "
            f"{', '.join(KINDS)}): "
            "give a LoRA, or merge it into a full model first"
        )
    for option, value in saved.items():
        if why := fault(kind, option, value):
            raise ModelError(f"the adapter in {folder} is of type {kind} with {option} = {_short(value)}, {why}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT warns of options that it ignores; all of them are handled here
            config = PeftConfig.from_pretrained(str(folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"the adapter in {folder} has settings that PEFT can't read: {reason}; copy it again"
        ) from None
    config.inference_mode = True
    return config


def initialised_plainly(config: PeftConfig) -> PeftConfig:
    """Return the same settings without an initialisation that reads or rewrites the base's weights."""
    plain = copy.deepcopy(config)
    if isinstance(getattr(plain, INIT, None), str):
        setattr(plain, INIT, True)
    return plain


@lru_cache
def _defaults(kind: str) -> dict[str, Any]:
    """Return each option's default value."""
    found = {}
    for field in dataclasses.fields(PEFT_TYPE_TO_CONFIG_MAPPING[kind]):
        made = field.default_factory
        found[field.name] = field.default if made is dataclasses.MISSING else made()
    return found


def fault(
    kind: str,
    option: str,
    value: Any,
    *,
    options: frozenset[str] | None = None,
    starts: tuple[str | bool | None, ...] = PLAIN_STARTS + REWRITING_STARTS,
) -> str | None:
    """Say why an adapter with this option isn't accepted, and what to do; None if it is accepted.

    ``options``: those that may have any value. ``starts``: a LoRA's accepted initialisations. An engine may give fewer
    of both than the defaults.
    """
    if option in _ABOUT:
        return None
    defaults = _defaults(kind)
    if option not in defaults:
        left_out = f"which the installed PEFT {version('peft')} would ignore: install the version that saved it, or"
        return f"{left_out} {_REMEDY}" if value else None
    if option == INIT:
        return None if value in starts else f"{_WHY[INIT]}: {_CONVERT}, or {_REMEDY}"
    if option in _RANDOM_SEEDS and value is None:
        return f"so that PEFT would draw its weights at random: {_REMEDY}"
    default = defaults[option]
    if option in (KINDS[kind] if options is None else options) or value == default:
        return None
    if not default and value in (None, False):
        return None
    return f"{_WHY.get(option, 'for which this engine is not known to give the right result')}: {_REMEDY}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
