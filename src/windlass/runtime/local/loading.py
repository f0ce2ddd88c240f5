"""Loading weights with PyTorch: a base with its adapters, as it answers or as it scores. Only processes of their own import this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from windlass.core.errors import Invalid
from windlass.runtime.local.files import Layer


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def dtype() -> Any:
    """What weights are computed in: on a processor whole, since that is what repeats to the bit."""
    return torch.bfloat16 if device() == "cuda" and torch.cuda.is_bf16_supported() else torch.float32


def quiet(threads: int) -> None:
    """As few threads as asked for, and the same numbers each time where the library has a way to."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)


def load_tokenizer(layers: Sequence[Layer]) -> Any:
    """The base's tokenizer: adapters bring none. Raises `Invalid` for one without a chat template, whose prompts would be a guess."""
    tokenizer = AutoTokenizer.from_pretrained(layers[0].folder, local_files_only=True, trust_remote_code=False)
    if tokenizer.chat_template is None:
        raise Invalid(
            "this model's tokenizer has no chat template", where=layers[0].manifest, remedy="add chat_template.jinja to its folder"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer


def load_causal(layers: Sequence[Layer], *, merge: bool = True) -> Any:
    """A model that answers. Every adapter is merged into it, but the last where `merge` is off: that one is left to switch off."""
    model: Any = AutoModelForCausalLM.from_pretrained(
        layers[0].folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=dtype()
    )
    for number, layer in enumerate(layers[1:], 1):
        model = PeftModel.from_pretrained(model, layer.folder, local_files_only=True)
        _all_taken(model, layer)
        if merge or number < len(layers) - 1:
            model = model.merge_and_unload()
    return model


def load_scorer(layers: Sequence[Layer], pad: int | None, *, head: bool = True) -> Any:
    """A model that gives texts a score. With `head` off, a fresh one on these weights: what a reward model is trained from."""
    below = layers[:-1] if head else layers
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        below[0].folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, num_labels=1, dtype=dtype()
    )
    model.config.pad_token_id = pad
    if len(below) > 1:
        under = getattr(model, model.base_model_prefix)
        under.load_state_dict(getattr(load_causal(below), model.base_model_prefix).state_dict())
    if head:
        model = PeftModel.from_pretrained(model, layers[-1].folder, local_files_only=True)
        _all_taken(model, layers[-1])
    return model


def _all_taken(model: Any, layer: Layer) -> None:
    """Raises `Invalid` for an adapter of another model: the library leaves out what has no place, and says nothing."""
    from pathlib import Path

    from safetensors import safe_open

    wanted: set[str] = set()
    for path in Path(layer.folder).glob("*.safetensors"):
        with safe_open(str(path), "pt") as file:
            wanted |= set(file.keys())
    held = {k.replace(".default", "").replace("modules_to_save.", "") for k in model.state_dict()}
    if lost := sorted(wanted - held):
        raise Invalid(
            f"{len(lost)} of {len(wanted)} tensors of this adapter have no place in its base, such as {lost[0]}",
            where=layer.manifest, remedy="it was made for another model",
        )  # fmt: skip
