"""The programs that tokenglass is measured against, on the same file of the same model."""

from __future__ import annotations

import json
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any

from tokenglass.models import resolve

PROMPTS = [
    "Once upon a time, generative models",
    "The capital of France is a city where",
    "In the beginning of the last century, people",
    "A neural network learns by reading",
    "Tomorrow morning we will walk across the",
]


def prompt(number: int) -> str:
    """A prompt not used before, so that no side finds its answer in a cache."""
    return f"Chapter {number + 1}. {PROMPTS[number % len(PROMPTS)]}"


@cache
def transformers_model() -> Any:
    """SmolLM2 in transformers: float32, as `generate` runs it by default; end-of-text off."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    path = Path(resolve("smollm2").path)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype="float32"
    ).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model


def transformers_generate(ids: list[list[int]], count: int) -> Any:
    """Greedy `generate` of `count` tokens for each row."""
    import torch

    with torch.inference_mode():
        return transformers_model().generate(torch.tensor(ids), max_new_tokens=count, do_sample=False)


@cache
def llama_server(threads: int) -> str:
    """llama.cpp's server over the embedded file, in this process; returns its address on loopback."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(resolve("smollm2").path)
    params.n_ctx, params.n_parallel, params.port = 4096, 1, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.verbosity = -1
    server = xllamacpp.Server(params)
    llama_server.kept = server  # type: ignore[attr-defined]
    return str(server.listening_address)


def llama_generate(address: str, text: str, count: int) -> dict[str, Any]:
    """Greedy completion with 50 logprobs for every token."""
    body = {
        "prompt": text,
        "n_predict": count,
        "temperature": 0,
        "n_probs": 50,
        "cache_prompt": False,
        "ignore_eos": True,
    }
    request = urllib.request.Request(
        f"{address}/completion", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        document: dict[str, Any] = json.load(answer)
    return document
