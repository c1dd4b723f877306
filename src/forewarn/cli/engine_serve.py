"""``forewarn engine serve``: a vLLM server with the settings that exact densities need."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from forewarn.cli.say import say


def serve(
    model: Annotated[str, typer.Argument(help="A model folder in transformers' format, or a hub name.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    dtype: Annotated[str, typer.Option(help="Float type of the weights, by torch's name.")] = "float32",
    max_len: Annotated[
        int | None, typer.Option(help="Longest row, prompt and completion (tokens); default: the model's own.")
    ] = None,
    max_lora_rank: Annotated[int, typer.Option(help="Largest LoRA rank that the server accepts.")] = 64,
    max_loras: Annotated[int, typer.Option(help="LoRAs in use at one time.")] = 8,
    batch_size: Annotated[int, typer.Option(help="Maximum number of rows decoded together.")] = 256,
    kv_cache_gib: Annotated[int, typer.Option(help="Memory for keys and values on a CPU, GiB.")] = 2,
) -> None:
    """Serve a model with vLLM, with log-probs that belong to the policy; stop it with Ctrl-C."""
    from forewarn.engines.vllm.serve import ServeSettings, check_port_free, serve_command, serve_environment

    settings = ServeSettings(model, host, port, dtype, max_len, max_lora_rank, max_loras, batch_size, kv_cache_gib)
    command = serve_command(settings)
    check_port_free(settings)
    say(f"serving {model} at {settings.url}")
    os.execve(command[0], command, serve_environment(settings))
