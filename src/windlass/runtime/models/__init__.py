"""Models behind one port: the built-in baseline, and whatever speaks OpenAI's or Anthropic's dialect.

Knows wire formats and how to reach a provider; not what a prompt is about, nor who asked.
"""

from windlass.runtime.models.bars import Bars
from windlass.runtime.models.choosing import Caller
from windlass.runtime.models.http import Http, Retries, Timeouts
from windlass.runtime.models.model import Model
from windlass.runtime.models.models import Models, Price, RemoteModel
from windlass.runtime.models.routed import RoutedModel
from windlass.runtime.models.upstreams import Upstreams

__all__ = [
    "Bars", "Caller", "Http", "Model", "Models", "Price", "RemoteModel", "Retries", "RoutedModel", "Timeouts", "Upstreams",
]  # fmt: skip
