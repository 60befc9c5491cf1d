"""From GGUF metadata to a `ModelSpec`, by allow-list, as `configs` does for a config.json."""

from __future__ import annotations

from collections.abc import Mapping

from tokenglass.engines.configs import ADVICE, Config, Reader, check
from tokenglass.engines.spec import Family, ModelSpec, Rope, default_rope, linear_rope
from tokenglass.errors import ModelDamaged, ModelUnsupported

# Metadata below "<architecture>." that is read, or does not touch the logits.
GGUF_KNOWN = frozenset(
    """block_count context_length embedding_length feed_forward_length attention.head_count
    attention.head_count_kv attention.key_length attention.value_length attention.layer_norm_rms_epsilon
    attention.layer_norm_epsilon rope.dimension_count rope.freq_base rope.scaling.type rope.scaling.factor
    rope.scaling.original_context_length rope.scaling.finetuned attention.sliding_window vocab_size
    use_parallel_residual tensor_data_layout rope.scale_linear""".split()
)
GGUF_FAMILIES: Mapping[str, Family] = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gpt2": "gpt2",
    "gptneox": "gpt_neox",
}


def spec_from_gguf(metadata: Config, tensors: Mapping[str, tuple[int, ...]], where: str) -> ModelSpec:
    """A `ModelSpec` from GGUF metadata and tensor shapes (rows first).

    Raises:
        ModelUnsupported: another architecture, an unknown key, or scaling that is not built in.
        ModelDamaged: a value that no such model can have.
    """
    architecture = str(metadata.get("general.architecture"))
    family = GGUF_FAMILIES.get(architecture)
    if family is None:
        known = ", ".join(GGUF_FAMILIES)
        raise ModelUnsupported(
            f"{where}: architecture {architecture!r} has no native graph ({known}); {ADVICE}"
        )
    own = {
        k.removeprefix(architecture + "."): v for k, v in metadata.items() if k.startswith(architecture + ".")
    }
    for key in own:
        if key not in GGUF_KNOWN:
            raise ModelUnsupported(f"{where}: unknown key '{architecture}.{key}' could change the numbers")
    r = Reader(own, where)
    hidden, heads = r.count("embedding_length"), r.count("attention.head_count")
    head_dim = r.count("attention.key_length", default=max(1, hidden // heads))
    if r.value("attention.value_length", default=head_dim) != head_dim:
        raise ModelUnsupported(f"{where}: keys and values of different width are not built in")
    context = r.count("context_length", most=1 << 27)
    layers = r.count("block_count", most=4096)
    window = r.value("attention.sliding_window") or None
    embeddings = tensors.get("token_embd.weight")
    if not embeddings:
        raise ModelDamaged(f"{where}: tensor token_embd.weight is missing")
    rms = family not in ("gpt2", "gpt_neox")
    eps = "attention.layer_norm_rms_epsilon" if rms else "attention.layer_norm_epsilon"
    spec = ModelSpec(
        family=family,
        vocab_size=embeddings[0],
        context_length=context,
        layers=layers,
        hidden_size=hidden,
        heads=heads,
        kv_heads=r.count("attention.head_count_kv", default=heads),
        head_dim=head_dim,
        ffn_size=r.count("feed_forward_length"),
        eps=r.number(eps, default=1e-5),
        rms=rms,
        activation="silu" if rms else ("gelu_tanh" if family == "gpt2" else "gelu"),
        gated=rms,
        rope=None if family == "gpt2" else _gguf_rope(r, head_dim),
        tied="output.weight" not in tensors,
        parallel=family == "gpt_neox" and bool(r.value("use_parallel_residual", default=True)),
        qk_norm=family == "qwen3",
        windows=(window,) * layers,
    )
    check(spec, where)
    return spec


def _gguf_rope(r: Reader, head_dim: int) -> Rope:
    rope = default_rope(
        r.number("rope.freq_base", default=10000.0), r.count("rope.dimension_count", default=head_dim)
    )
    kind = r.value("rope.scaling.type", default="none")
    if kind == "linear":
        return linear_rope(rope, r.number("rope.scaling.factor", default=1.0))
    if kind != "none":
        raise ModelUnsupported(f"{r.where}: rope scaling {kind!r} is not built in")
    if r.value("rope.scale_linear"):
        return linear_rope(rope, r.number("rope.scale_linear", default=1.0))
    return rope
