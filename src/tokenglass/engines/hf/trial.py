"""What a loaded model can do, found by running it on a few tokens.

Whether a cache may be rewound, whether padding in a batch is harmless and which layer is the final norm is
written nowhere; a model for which the answer is guessed wrongly shows wrong numbers without any error. So
each is tried once on a text of five tokens, and used only where the numbers come out the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tokenglass.engines.base import Prefix
from tokenglass.engines.hf.lengths import regimes
from tokenglass.engines.hf.memory import Memory, StripMemory
from tokenglass.engines.hf.network import Floats, Need, Network, computing
from tokenglass.engines.hf.planning import Ids
from tokenglass.engines.hf.states import PlainMemory, StateMemory
from tokenglass.engines.hf.strips import growing_layers
from tokenglass.errors import EngineError, ModelUnsupported

# How far two ways to the same logits may lie apart, as a share of the largest logit. A wrong position or a
# visible padding token moves them by about the whole of it.
NEAR = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1, torch.float64: 1e-6}


@dataclass(frozen=True)
class Trial:
    """What was found.

    Attributes:
        vocab_size: width of the logits.
        layers: hidden states after the embeddings; 0 where the model shows none.
        hidden_size: their width.
        head: from the last hidden state to logits, or None.
        norm: the final norm, or None where no module is it.
        memory: what keeps what was read.
    """

    vocab_size: int
    layers: int
    hidden_size: int
    head: Any
    norm: Any
    memory: Memory


def tried(network: Network, bound: int) -> Trial:
    """Run a model on a few tokens.

    Args:
        network: the model.
        bound: bytes that a memory may keep.

    Raises:
        ModelUnsupported: it does not run, or its logits are not numbers.
    """
    ids = _some_ids(network)
    try:
        want = network([ids], Need(len(ids))).logits[0]
    except (EngineError, TypeError, ValueError, IndexError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ModelUnsupported(f"the model does not run on its own ids: {line}; check its files") from error
    want = _by_equal_attention(network, ids, want)
    if not np.isfinite(want).all():
        raise ModelUnsupported(
            "the model's logits are not finite; its weights are damaged, or dtype is too narrow for them "
            "(try dtype='float32')"
        )
    hidden, norm = _inside(network, ids)
    layers = len(hidden) - 1 if hidden else 0
    width = hidden[-1].shape[-1] if hidden else 0
    head = _head(network, width, want.shape[-1])
    return Trial(want.shape[-1], layers, width, head, norm, _memory(network, ids, want, bound))


def _by_equal_attention(network: Network, ids: Ids, fused: Floats) -> Floats:
    """Leave the fused attention kernel to models for which it computes the same as the plain formula.

    For some (Falcon with ALiBi in transformers 5.23) it does not; the formula is what the model means.
    """
    if getattr(network.config, "_attn_implementation", None) != "sdpa":
        return fused
    network.model.set_attn_implementation("eager")
    plain = network([ids], Need(len(ids))).logits[0]
    if not np.abs(plain - fused).max() <= _tolerance(network, plain):
        return plain
    network.model.set_attn_implementation("sdpa")
    return fused


def _tolerance(network: Network, logits: Floats) -> float:
    """How far two ways to the same logits may lie apart."""
    return NEAR.get(network.dtype, NEAR[torch.float16]) * (1 + float(np.abs(logits).max()))


def _some_ids(network: Network) -> Ids:
    config = network.config.get_text_config(decoder=True)
    size = int(getattr(config, "vocab_size", 0) or 1)
    return tuple(i % size for i in (1, 5, 2, 7, 3))


# ------------------------------------------------------------------------------------------- inside


def _inside(network: Network, ids: Ids) -> tuple[tuple[torch.Tensor, ...], Any]:
    """All hidden states, and the norm whose output is the last of them."""
    seen: list[tuple[Any, torch.Tensor]] = []
    base = network.model.base_model

    def note(module: Any, given: Any, made: Any) -> None:
        if isinstance(made, torch.Tensor):
            seen.append((module, made))

    norms = [m for m in base.modules() if "norm" in type(m).__name__.lower()]
    hooks = [module.register_forward_hook(note) for module in norms]
    try:
        with computing():
            ran = network.model(
                input_ids=torch.tensor([ids], device=network.device),
                output_hidden_states=True,
                use_cache=False,
                return_dict=True,
            )
    finally:
        for hook in hooks:
            hook.remove()
    hidden = getattr(ran, "hidden_states", None) or ()
    if not hidden or any(state.dim() != 3 or state.shape[1] != len(ids) for state in hidden):
        return (), None
    last = [module for module, made in seen if made.shape == hidden[-1].shape and made.equal(hidden[-1])]
    return hidden, last[-1] if last else None


def _head(network: Network, width: int, vocab_size: int) -> Any:
    """The output embedding, where it takes hidden states as they are."""
    head = network.model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    return head if weight is not None and tuple(weight.shape) == (vocab_size, width) else None


# ------------------------------------------------------------------------------------------- memory


def _memory(network: Network, ids: Ids, want: Floats, bound: int) -> Memory:
    """The best memory whose numbers equal those of a text read whole."""
    near = _tolerance(network, want)
    layers = growing_layers(network.config)
    kinds: list[Callable[[], Memory]] = [lambda: StateMemory(network, bound)]
    if layers is not None:
        alike = regimes(network.config)
        kinds.insert(0, lambda: StripMemory(network, layers, bound, alike))
    for make in kinds:
        memory = make()
        if _is_faithful(memory, network, ids, want, near):
            if isinstance(memory, StripMemory):
                memory.padded = _pads(memory, network, ids, want, near)
            memory.clear()
            memory.tokens_run = 0
            return memory
    return PlainMemory(network)


def _is_faithful(memory: Memory, network: Network, ids: Ids, want: Floats, near: float) -> bool:
    """Whether a text that is written, rewound and forked has the numbers of one read whole."""
    fork = (*ids[:2], ids[4])
    try:
        first = memory.answers([Prefix(ids[:1])], Need())[0]
        began = memory.answers([Prefix(ids[:3])], Need())[0]
        grown = memory.answers([Prefix(ids, began.node)], Need(2))[0]
        forked = memory.answers([Prefix(fork, began.node)], Need())[0]
        again = memory.answers([Prefix(ids[:4], grown.node)], Need(2))[0]
        end = memory.answers([Prefix(ids, again.node)], Need())[0]
    except (EngineError, TypeError, ValueError, AttributeError, IndexError, KeyError, NotImplementedError):
        return False  # another kind of cache than it says
    alone = network([fork], Need()).logits[0]
    pairs = [(first, want[:1]), (began, want[2:3]), (grown, want[3:])]
    pairs += [(forked, alone), (again, want[2:4]), (end, want[4:])]
    return all(np.abs(answer.logits - rows).max() <= near for answer, rows in pairs)


def _pads(memory: StripMemory, network: Network, ids: Ids, want: Floats, near: float) -> bool:
    """Whether a short text beside a longer one keeps its numbers, read at once and going on."""
    short = ids[:2]
    memory.clear()
    memory.padded = True
    other = tuple(reversed(ids))
    try:
        for texts in ([short, other], [ids[:3], (*other, ids[0])]):
            answers = memory.answers([Prefix(text) for text in texts], Need())
            if np.abs(answers[0].logits - want[len(texts[0]) - 1 : len(texts[0])]).max() > near:
                return False
    except (EngineError, TypeError, ValueError, IndexError):
        return False
    return True
