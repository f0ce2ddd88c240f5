"""Text as vectors, behind one port: by their words, all-MiniLM-L6-v2 on this machine, and any OpenAI-compatible embeddings endpoint.

Knows how a text becomes a vector and what identifies that way; not where vectors are kept, nor what they are compared with.
"""

from windlass.runtime.encoders.encoder import Encoded, Encoder, watch_encoding
from windlass.runtime.encoders.encoders import Encoders
from windlass.runtime.encoders.endpoint import EndpointEncoder
from windlass.runtime.encoders.minilm import MiniLM, install_minilm
from windlass.runtime.encoders.words import Words

__all__ = ["Encoded", "Encoder", "Encoders", "EndpointEncoder", "MiniLM", "Words", "install_minilm", "watch_encoding"]
