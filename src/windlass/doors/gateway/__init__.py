"""The gateway door: models and releases for the clients people already have, typed invoke, every call traced.

Knows two public dialects and how to tell their clients an error; no prompts, no registry. `app.Gateway` is the way in.
"""

from windlass.doors.gateway.app import Gateway

__all__ = ["Gateway"]
