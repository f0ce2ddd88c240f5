"""LiteLLM's words, and ours for them."""

from __future__ import annotations

# how its models are prefixed → our provider
OURS = {
    "openai": "openai", "azure": "azure", "anthropic": "anthropic", "gemini": "gemini", "vertex_ai": "vertex", "bedrock": "bedrock",
    "groq": "groq", "mistral": "mistral", "openrouter": "openrouter", "together_ai": "together", "fireworks_ai": "fireworks",
    "deepseek": "deepseek", "xai": "xai", "cerebras": "cerebras", "huggingface": "huggingface", "ollama": "ollama",
    "ollama_chat": "ollama", "hosted_vllm": "vllm", "llamafile": "llamacpp", "perplexity": "perplexity", "nvidia_nim": "nvidia",
    "sambanova": "sambanova", "deepinfra": "deepinfra", "moonshot": "moonshot", "cohere": "cohere", "cohere_chat": "cohere",
    "hyperbolic": "hyperbolic", "minimax": "minimax", "dashscope": "alibaba", "vercel_ai_gateway": "vercel", "zai": "zai",
    "baseten": "baseten", "custom_openai": "openai", "openai_like": "openai", "litellm_proxy": "openai",
}  # fmt: skip
# whom it asks for a model without a prefix
BARE = (("gpt-", "openai"), ("o1", "openai"), ("o3", "openai"), ("o4", "openai"), ("chatgpt-", "openai"), ("claude-", "anthropic"))
OWN_HOSTS = {
    "openai": "api.openai.com", "anthropic": "api.anthropic.com", "groq": "api.groq.com", "mistral": "api.mistral.ai",
    "openrouter": "openrouter.ai", "together": "api.together.xyz", "deepseek": "api.deepseek.com", "xai": "api.x.ai",
    "gemini": "generativelanguage.googleapis.com", "perplexity": "api.perplexity.ai", "nvidia": "integrate.api.nvidia.com",
}  # fmt: skip
ENDS_IN_V1 = ("anthropic", "ollama")  # it appends this by itself
# what belongs to credentials → the field here; empty for secrets, and for what has none
CREDENTIALS = {
    "api_base": "base_url", "base_url": "base_url", "api_version": "api_version", "aws_access_key_id": "access_key_id",
    "aws_region_name": "region", "vertex_project": "project", "vertex_location": "location", "tenant_id": "tenant_id",
    "client_id": "client_id", "api_key": "", "aws_secret_access_key": "", "client_secret": "", "vertex_credentials": "",
    "custom_llm_provider": "",
}  # fmt: skip
OF_A_ROUTE = ("weight", "rpm", "tpm", "order", "max_parallel_requests", "timeout", "stream_timeout", "max_retries", "cooldown_time")

_ROUTE = "windlass routes set says it of each route"
_LATER = "became later tiers of routes; of a name that means the model of that name nothing is carried"
_LIMIT = "budgets and limits are not carried: nothing here says of whom they are"
SETTINGS = {
    "num_retries": "the setting retries, WINDLASS_RETRIES", "request_timeout": "the setting total_seconds, WINDLASS_TOTAL_SECONDS",
    "timeout": "the setting total_seconds, WINDLASS_TOTAL_SECONDS", "stream_timeout": "the setting between_tokens_seconds",
    "routing_strategy": _ROUTE, "routing_strategy_args": _ROUTE, "fallbacks": _LATER, "default_fallbacks": _ROUTE,
    "context_window_fallbacks": _ROUTE, "content_policy_fallbacks": _ROUTE, "model_group_alias": _ROUTE, "allowed_fails": _ROUTE,
    "cooldown_time": _ROUTE, "retry_policy": _ROUTE, "enable_pre_call_checks": _ROUTE,
    "drop_params": "a parameter that a model has no word for is refused here, never dropped in silence",
    "max_budget": _LIMIT, "budget_duration": _LIMIT, "max_internal_user_budget": _LIMIT, "default_internal_user_params": _LIMIT,
    "default_team_settings": _LIMIT, "max_end_user_budget": _LIMIT,
    "success_callback": "every call is traced here; forward_to sends on what comes by OTLP",
    "failure_callback": "every call is traced here, and alerts tell of what fails", "callbacks": "every call is traced here",
    "cache": "answers are not cached by a setting", "cache_params": "answers are not cached by a setting",
    "redis_host": "processes share the store, and need no Redis", "redis_port": "processes share the store, and need no Redis",
    "redis_password": "processes share the store, and need no Redis", "redis_url": "processes share the store, and need no Redis",
    "turn_off_message_logging": "masking.toml says what is taken out of traces",
}  # fmt: skip
GENERAL = {
    "master_key": "Windlass makes its own: windlass keys create NAME --role owner",
    "database_url": "virtual keys, teams, budgets and spend lie in its database, keys as hashes only: windlass keys create makes new ones",
    "store_model_in_db": "models that lie in its database are not in this file: export them into it first",
    "alerting": "windlass alert set tells people", "max_parallel_requests": _LIMIT, "global_max_parallel_requests": _LIMIT,
    "pass_through_endpoints": "the gateway passes through the paths of its dialects only",
}  # fmt: skip
