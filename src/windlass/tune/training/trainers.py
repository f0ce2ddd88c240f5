"""The trainer of each method, as TRL has it, with everything that could make two runs differ said out loud."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from peft import LoraConfig

from windlass.runtime.local.answering import conversation, scores_of
from windlass.runtime.local.loading import load_causal, load_scorer
from windlass.tune.training.job import BETAS, LEARNING_RATES, Job, Row
from windlass.tune.training.rows import dataset

LOGGED = 400  # points of a curve


class Made(NamedTuple):
    """A trainer, its model with the adapter in it, and what gives texts a score where a reward model is there."""

    trainer: Any
    model: Any
    scorer: Callable[[Sequence[str]], list[float]] | None


def make(job: Job, folder: Path, tokenizer: Any, rows: Sequence[Row], device: str) -> Made:
    """The trainer of a job. Loads its weights."""
    import trl

    p = job.parameters
    scorer = _scorer(job, tokenizer, device) if job.reward else None
    adapter = LoraConfig(
        r=p.rank, lora_alpha=p.alpha, lora_dropout=p.dropout, target_modules="all-linear",
        **({"task_type": "SEQ_CLS", "modules_to_save": ["score"]} if job.method == "reward" else {"task_type": "CAUSAL_LM"}),
    )  # fmt: skip
    given: dict[str, Any] = {"processing_class": tokenizer, "peft_config": adapter, "train_dataset": dataset(job.method, rows)}
    args = _arguments(job, folder, device)
    if job.method == "reward":
        model = load_scorer(job.base, tokenizer.pad_token_id, head=False)
        trainer = trl.RewardTrainer(model, args=trl.RewardConfig(max_length=p.longest, disable_dropout=p.dropout == 0, **args), **given)
    elif job.method == "sft":
        trainer = trl.SFTTrainer(load_causal(job.base), args=trl.SFTConfig(max_length=p.longest, packing=False, **args), **given)
    elif job.method == "dpo":
        # with a share of plain fitting to the better answers, or both of a pair become unlikely together
        config = trl.DPOConfig(max_length=p.longest, beta=_beta(job), loss_type=["sigmoid", "sft"], loss_weights=[1.0, 1.0], **args)
        trainer = trl.DPOTrainer(load_causal(job.base), args=config, **given)
    else:
        assert scorer is not None
        config_of, trainer_of = (trl.GRPOConfig, trl.GRPOTrainer) if job.method == "grpo" else (trl.RLOOConfig, trl.RLOOTrainer)
        config = config_of(
            max_completion_length=p.answer, num_generations=p.generations, temperature=p.temperature, beta=_beta(job), **args
        )
        trainer = trainer_of(load_causal(job.base), reward_funcs=[_reward(scorer, tokenizer)], args=config, **given)
    return Made(trainer, trainer.accelerator.unwrap_model(trainer.model), scorer)


def _beta(job: Job) -> float:
    return BETAS[job.method] if job.parameters.beta is None else job.parameters.beta


def _arguments(job: Job, folder: Path, device: str) -> dict[str, Any]:
    """What all of TRL's configurations share."""
    import torch

    p = job.parameters
    half = device == "cuda" and torch.cuda.is_bf16_supported()
    return {
        "output_dir": str(folder), "max_steps": p.steps, "per_device_train_batch_size": p.batch, "gradient_accumulation_steps": 1,
        "learning_rate": LEARNING_RATES[job.method] if p.learning_rate is None else p.learning_rate, "lr_scheduler_type": "linear",
        "warmup_steps": 0, "weight_decay": 0.0, "max_grad_norm": 1.0, "seed": p.seed, "data_seed": p.seed, "use_cpu": device == "cpu",
        "bf16": half, "fp16": False, "activation_checkpointing": False, "save_strategy": "steps", "save_steps": p.save_every,
        "save_total_limit": None, "logging_strategy": "steps", "logging_steps": max(1, p.steps // LOGGED), "logging_nan_inf_filter": False,
        "report_to": "none", "disable_tqdm": True, "dataloader_num_workers": 0, "dataloader_pin_memory": device == "cuda",
        "full_determinism": False, "eval_strategy": "no", "push_to_hub": False, "remove_unused_columns": not job.reward,
    }  # fmt: skip


def _scorer(job: Job, tokenizer: Any, device: str) -> Callable[[Sequence[str]], list[float]]:
    """The reward model, frozen. It reads with the tokenizer of the weights it judges, which must be its own."""
    model = load_scorer(job.reward, tokenizer.pad_token_id).to(device).eval()
    for weight in model.parameters():
        weight.requires_grad_(False)
    longest = job.parameters.longest + job.parameters.answer
    return lambda texts: scores_of(model, tokenizer, texts, longest)


def _reward(scorer: Callable[[Sequence[str]], list[float]], tokenizer: Any) -> Callable[..., list[float]]:
    def reward_model(prompts: Any, completions: Any, **_: Any) -> list[float]:
        return scorer([conversation(tokenizer, [*p, *c]) for p, c in zip(prompts, completions, strict=True)])

    return reward_model
