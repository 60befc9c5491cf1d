"""GPT-2's vocabulary, as the parity tests fetch it."""

from tests.parity.conftest import gpt2_files

__all__ = ["gpt2_files"]
