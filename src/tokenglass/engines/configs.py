"""From a config.json to a `ModelSpec`, by allow-list.

Every field of a config.json is either read, known not to touch the forward pass, or must have the one value
that this engine computes. An unknown field is refused by name: it could change the numbers in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tokenglass.engines.spec import (
    Activation,
    Family,
    ModelSpec,
    Rope,
    default_rope,
    linear_rope,
    llama3_rope,
)
from tokenglass.errors import ModelDamaged, ModelUnsupported

Config = Mapping[str, Any]
ADVICE = "load it with engine='hf' (pip install 'tokenglass[hf]')"

# Fields that describe files, training, other tasks or outputs, never the logits of an evaluation run.
HARMLESS = frozenset(
    """_name_or_path architectures attn_pdrop attention_dropout attention_probs_dropout_prob bad_words_ids
    begin_suppress_tokens bos_token_id chunk_size_feed_forward classifier_dropout cross_attention_hidden_size
    decoder_start_token_id diversity_penalty do_sample dtype early_stopping embd_pdrop
    encoder_no_repeat_ngram_size eos_token_id exponential_decay_length_penalty finetuning_task
    forced_bos_token_id forced_eos_token_id gradient_checkpointing hidden_dropout hidden_dropout_prob id2label
    initializer_range is_decoder is_encoder_decoder is_llama_config label2id length_penalty max_length
    max_window_layers min_length model_type n_ctx no_repeat_ngram_size num_beam_groups num_beams
    num_return_sequences output_attentions output_hidden_states output_scores pad_token_id prefix
    problem_type remove_invalid_values repetition_penalty resid_pdrop return_dict return_dict_in_generate
    rope_interleaved sep_token_id summary_activation summary_first_dropout summary_proj_to_labels summary_type
    summary_use_proj suppress_tokens task_specific_params temperature tf_legacy_loss tie_encoder_decoder
    tokenizer_class top_k top_p torch_dtype torchscript transformers.js_config transformers_version typical_p
    use_bfloat16 use_cache""".split()
)
# Fields that would change the forward pass unless they have one of these values.
FIXED: Mapping[str, tuple[Any, ...]] = {
    "add_cross_attention": (False, None),
    "pretraining_tp": (1, None),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
    "reorder_and_upcast_attn": (False, None),
    "rope_interleaved": (False, None),
    "scale_attn_by_inverse_layer_idx": (False, None),
    "scale_attn_weights": (True, None),
    "is_encoder_decoder": (False, None),
}
ACTIVATIONS: Mapping[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}


class Reader:
    """Reads a config once, remembers which fields were asked for, and refuses the rest."""

    def __init__(self, config: Config, where: str) -> None:
        self.config = config
        self.where = where
        self.seen: set[str] = set()

    def value(self, *names: str, default: Any = None) -> Any:
        """The first of several names that is set."""
        self.seen.update(names)
        return next((self.config[n] for n in names if self.config.get(n) is not None), default)

    def count(self, *names: str, default: int | None = None, most: int = 1 << 24) -> int:
        """A whole number in [1, most]."""
        value = self.value(*names, default=default)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise ModelDamaged(
                f"{self.where}: {names[0]} must be a whole number in [1, {most}], got {value!r}"
            )
        return value

    def number(self, *names: str, default: float) -> float:
        """A positive number."""
        value = self.value(*names, default=default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e12:
            raise ModelDamaged(f"{self.where}: {names[0]} must be a positive number, got {value!r}")
        return float(value)

    def activation(self, name: str, default: str) -> Activation:
        """A known activation."""
        given = self.value(name, default=default)
        if given not in ACTIVATIONS:
            raise ModelUnsupported(f"{self.where}: {name} {given!r} is not built in; {ADVICE}")
        return ACTIVATIONS[given]

    def finish(self) -> None:
        """Refuse what was neither read nor is known to be harmless."""
        for name, value in self.config.items():
            if name in FIXED:
                if value not in FIXED[name]:
                    raise ModelUnsupported(f"{self.where}: {name}={value!r} is not built in; {ADVICE}")
            elif name not in self.seen and name not in HARMLESS:
                raise ModelUnsupported(
                    f"{self.where}: unknown field {name!r} could change the model's numbers; {ADVICE}"
                )


def spec_from_config(config: Config, where: str = "config.json") -> ModelSpec:
    """A `ModelSpec` from the fields of a config.json.

    Raises:
        ModelUnsupported: another family, an unknown field, or a value that is not built in.
        ModelDamaged: a field that no such model can have.
    """
    family = config.get("model_type")
    build = FAMILIES.get(str(family))
    if build is None:
        known = ", ".join(FAMILIES)
        raise ModelUnsupported(f"{where}: model_type {family!r} has no native graph ({known}); {ADVICE}")
    reader = Reader(config, where)
    spec = build(reader)
    reader.finish()
    check(spec, where)
    return spec


def check(spec: ModelSpec, where: str) -> None:
    """Refuse numbers that no transformer can have together."""
    if spec.heads % spec.kv_heads:
        raise ModelDamaged(f"{where}: {spec.heads} heads cannot share {spec.kv_heads} key/value heads")
    if spec.rope and not 2 <= spec.rope.width <= spec.head_dim:
        raise ModelDamaged(f"{where}: rotary width {spec.rope.width} does not fit a head of {spec.head_dim}")


def _gpt2(r: Reader) -> ModelSpec:
    hidden, heads = r.count("n_embd"), r.count("n_head")
    if hidden % heads:
        raise ModelDamaged(f"{r.where}: n_embd {hidden} is not a multiple of n_head {heads}")
    return ModelSpec(
        family="gpt2",
        vocab_size=r.count("vocab_size"),
        context_length=r.count("n_positions", default=1024),
        layers=r.count("n_layer", most=4096),
        hidden_size=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        ffn_size=r.count("n_inner", default=4 * hidden),
        eps=r.number("layer_norm_epsilon", default=1e-5),
        rms=False,
        activation=r.activation("activation_function", "gelu_new"),
        gated=False,
        rope=None,
        tied=bool(r.value("tie_word_embeddings", default=True)),
    )


def _llama_like(r: Reader, family: Family, **extra: Any) -> ModelSpec:
    hidden, heads = r.count("hidden_size"), r.count("num_attention_heads")
    head_dim = r.count("head_dim", default=128 if family == "qwen3" else max(1, hidden // heads))
    layers = r.count("num_hidden_layers", most=4096)
    context = r.count("max_position_embeddings", default=2048, most=1 << 27)
    # Biases are found in the weights themselves; the flags only have to be known fields.
    r.value("attention_bias", "mlp_bias")
    return ModelSpec(
        family=family,
        vocab_size=r.count("vocab_size"),
        context_length=context,
        layers=layers,
        hidden_size=hidden,
        heads=heads,
        kv_heads=r.count("num_key_value_heads", default=heads),
        head_dim=head_dim,
        ffn_size=r.count("intermediate_size"),
        eps=r.number("rms_norm_eps", default=1e-6),
        rms=True,
        activation=r.activation("hidden_act", "silu"),
        gated=True,
        rope=_rope(r, head_dim, context),
        tied=bool(r.value("tie_word_embeddings", default=False)),
        **extra,
    )


def _llama(r: Reader) -> ModelSpec:
    return _llama_like(r, "llama")


def _mistral(r: Reader) -> ModelSpec:
    window = r.value("sliding_window")
    return _llama_like(r, "llama", windows=_windows(r, lambda layer: window))


def _qwen2(r: Reader) -> ModelSpec:
    return _llama_like(r, "qwen2", windows=_qwen_windows(r))


def _qwen3(r: Reader) -> ModelSpec:
    return _llama_like(r, "qwen3", qk_norm=True, windows=_qwen_windows(r))


def _qwen_windows(r: Reader) -> tuple[int | None, ...]:
    width = r.value("sliding_window")
    window = width if r.value("use_sliding_window", default=False) else None
    first = r.value("max_window_layers", default=28)
    kinds = r.value("layer_types")
    known = ("full_attention", "sliding_attention")
    if kinds is not None and (not isinstance(kinds, list) or any(k not in known for k in kinds)):
        raise ModelUnsupported(f"{r.where}: layer_types holds a kind that is not built in; {ADVICE}")

    def of_layer(layer: int) -> int | None:
        local = kinds[layer] == "sliding_attention" if kinds else layer >= first
        return window if local else None

    return _windows(r, of_layer)


def _windows(r: Reader, of_layer: Callable[[int], int | None]) -> tuple[int | None, ...]:
    layers = r.count("num_hidden_layers", most=4096)
    try:
        return tuple(of_layer(layer) for layer in range(layers))
    except IndexError as error:
        raise ModelDamaged(f"{r.where}: layer_types is shorter than num_hidden_layers") from error


def _gpt_neox(r: Reader) -> ModelSpec:
    hidden, heads = r.count("hidden_size"), r.count("num_attention_heads")
    if hidden % heads:
        raise ModelDamaged(f"{r.where}: hidden_size {hidden} is not a multiple of the {heads} heads")
    context = r.count("max_position_embeddings", default=2048, most=1 << 27)
    r.value("attention_bias")
    return ModelSpec(
        family="gpt_neox",
        vocab_size=r.count("vocab_size"),
        context_length=context,
        layers=r.count("num_hidden_layers", most=4096),
        hidden_size=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        ffn_size=r.count("intermediate_size"),
        eps=r.number("layer_norm_eps", default=1e-5),
        rms=False,
        activation=r.activation("hidden_act", "gelu"),
        gated=False,
        rope=_rope(r, hidden // heads, context, partial=r.number("rotary_pct", default=0.25)),
        tied=bool(r.value("tie_word_embeddings", default=False)),
        parallel=bool(r.value("use_parallel_residual", default=True)),
    )


def _rope(r: Reader, head_dim: int, context: int, partial: float = 1.0) -> Rope:
    theta = r.number("rope_theta", "rotary_emb_base", default=10000.0)
    partial = r.number("partial_rotary_factor", default=partial)
    scaling, params = dict(r.value("rope_scaling") or {}), dict(r.value("rope_parameters") or {})
    if scaling:  # the older field wins, as in transformers
        scaling.setdefault("rope_type", scaling.pop("type", "default"))
    params |= scaling
    theta = float(params.pop("rope_theta", theta))
    partial = float(params.pop("partial_rotary_factor", partial))
    rope = default_rope(theta, int(head_dim * partial))
    kind = params.pop("rope_type", params.pop("type", "default"))
    params.pop("type", None)
    try:
        scaled = _scaled(rope, kind, params, context)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelDamaged(f"{r.where}: rope scaling {kind!r} is incomplete ({error})") from error
    if scaled is None or params:
        what = kind if scaled is None else f"{kind} with {', '.join(params)}"
        raise ModelUnsupported(f"{r.where}: rope scaling {what} is not built in; {ADVICE}")
    return scaled


def _scaled(rope: Rope, kind: str, params: dict[str, Any], context: int) -> Rope | None:
    if kind == "default":
        return rope
    if kind == "linear":
        return linear_rope(rope, float(params.pop("factor")))
    if kind == "llama3":
        original = int(params.pop("original_max_position_embeddings", context))
        low, high = float(params.pop("low_freq_factor")), float(params.pop("high_freq_factor"))
        return llama3_rope(rope, float(params.pop("factor")), low, high, original)
    return None


FAMILIES: Mapping[str, Callable[[Reader], ModelSpec]] = {
    "gpt2": _gpt2,
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gpt_neox": _gpt_neox,
}
