"""What is running."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenglass.types.shown import Shown


@dataclass(frozen=True, repr=False)
class EngineInfo(Shown):
    """What is running.

    Attributes:
        name: the model as the user named it.
        family: "gpt2", "llama", "qwen2", "qwen3", "gpt_neox"; any model_type of transformers; "table"; of a
            server, its kind: "llama.cpp", "vllm", "sglang" or "openai".
        engine: "onnx", "hf", "server" or "table".
        precision: "exact" (float32 activations), "fast" (int8 activations), "bfloat16", "float16" or, of a
            server, "unknown".
        parameters: number of weights, each counted once (a tied embedding is one).
        vocab_size: rows of the logits.
        context_length: tokens the model can read.
        eos_ids: ids that end a text, by the model's own files.
        bos_id: the id that begins a text, or None.
        layers: transformer blocks.
        hidden_size: width of the residual stream.
        tie_word_embeddings: the head is the embedding.
        weights: how they are stored, such as "210 x Q4_1, 1 x Q8_0, 61 x F32".
        sha256: of the weights file, or of the shards' digests; "" where there is none.
        threads: of the computation.
        capabilities: what the engine can do, in the words of docs/engines.md, such as "hidden" or "tree".
        source: the file or folder that was loaded, or a server's address.
        peer: what a server was found to do: ability -> "yes", "no" or "unknown", and how many tokens it
            lists; empty for an engine that computes here.
    """

    name: str
    family: str
    engine: str
    precision: str
    parameters: int
    vocab_size: int
    context_length: int
    eos_ids: tuple[int, ...] = ()
    bos_id: int | None = None
    layers: int = 0
    hidden_size: int = 0
    tie_word_embeddings: bool = False
    weights: str = ""
    sha256: str = ""
    threads: int = 1
    capabilities: frozenset[str] = frozenset()
    source: str = ""
    peer: Mapping[str, str | int] = field(default_factory=dict)
