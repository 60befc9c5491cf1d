"""What is kept of a choice, and the small judgements every strategy shares: is the row sound, is this a stop.

Knows ids, logits and bytes; it does not know models, caches or screens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenglass.errors import EngineError, NoTokenAllowed
from tokenglass.text import Utf8Stream
from tokenglass.types import Token

Floats = NDArray[np.float32]
TOP = 64  # candidates that a step remembers; the rest is known through logsumexp and entropy


def checked(logits: Floats | None, position: int, *, repaired: bool = False) -> Floats:
    """The last row of a forward pass, refused where no honest choice can be made from it.

    Args:
        logits: (1, T, V), or None from an engine that sees only a top k.
        position: of the token to be chosen.
        repaired: a stage of the chain repairs NaN and infinities.
    """
    if logits is None:
        raise EngineError("this engine does not give logits for the full vocabulary")
    row: Floats = logits[0, -1]
    best = row.max()
    if not repaired and (np.isnan(best) or best == np.inf):
        raise EngineError(
            f"the model's logits at position {position} hold NaN or +inf; the weights are broken "
            "(remove_invalid_values=True goes on all the same)"
        )
    if best == -np.inf:
        raise NoTokenAllowed(position)
    return row


def piece(stream: Utf8Stream, token: Token, *, ends: bool = False) -> str:
    """The complete characters that a token finishes; control tokens are not text."""
    text = "" if token.kind == "control" else stream.feed(token.bytes)
    return text + stream.finish() if ends else text


def stops(stop: bytes, tail: bytes, token: Token) -> bool:
    """Whether a stop string lies in the text and ends inside its last token.

    The text is kept whole, as transformers keeps it: the last token may reach beyond the stop string.
    """
    reach = len(stop) - 1 + len(token.bytes)
    return stop in tail[-reach:] if token.bytes else False
