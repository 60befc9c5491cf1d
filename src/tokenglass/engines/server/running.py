"""What runs in the child process: llama.cpp's server, until standard input ends. Run as a module.

Its settings come over standard input, so that the key is in no list of processes.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from tokenglass.engines.server.child import SIGN, Settings


def _serve(settings: Settings) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings.path
    params.n_ctx, params.n_parallel, params.port = settings.context, 1, settings.port
    if settings.threads is not None:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    # llama.cpp would round keys and values to float16, in its cache and in flash attention, and move
    # log-probabilities by 0.02; without both they are within 3e-5 where the weights are float32
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.api_keys = [settings.key]
    params.ui, params.endpoint_slots, params.verbosity = False, False, -1
    return xllamacpp.Server(params)


def _main() -> None:
    """Serve until standard input ends."""
    settings = Settings(**json.loads(sys.stdin.readline()))
    said: dict[str, Any]
    try:
        server = _serve(settings)
        said = {"port": int(server.listening_address.rpartition(":")[2])}
    except ImportError:
        said = {"missing": True}
    except Exception as error:
        said = {"error": str(error)}
    sys.stdout.write(f"\n{SIGN}{json.dumps(said)}\n")
    sys.stdout.flush()
    if "port" in said:
        sys.stdin.read()  # until the parent closes it, or ends
    os._exit(0)  # the server's threads need no goodbye


if __name__ == "__main__":
    _main()
