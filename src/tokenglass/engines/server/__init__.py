"""Models behind a server: llama.cpp's, vLLM, SGLang, and others that speak OpenAI's completions.

| module | what |
|---|---|
| `address` | an address as the user types it, and the key that belongs to it |
| `transport` | one question, one answer: timeouts, retries, limits, and errors in one line |
| `peers` | what each kind of server is asked, and how its answer is read |
| `telling` | how probable a server finds the tokens of a text it is given |
| `answers` | an answer's numbers, believed only where they can be true |
| `probing` | which kind it is and what it can do, found out by asking, as data |
| `engine` | the engine protocol over it |
| `spelling` | a tokenizer over the server's own |
| `child`, `running` | a llama.cpp server for one file, as a child process |
"""

from __future__ import annotations

from tokenglass.engines.server.address import Address, parse_address
from tokenglass.engines.server.child import Child
from tokenglass.engines.server.engine import ServerEngine
from tokenglass.engines.server.probing import Probed, probe
from tokenglass.engines.server.spelling import PeerScheme
from tokenglass.engines.server.transport import Patience, Transport

__all__ = [
    "Address",
    "Child",
    "Patience",
    "PeerScheme",
    "Probed",
    "ServerEngine",
    "Transport",
    "parse_address",
    "probe",
]
