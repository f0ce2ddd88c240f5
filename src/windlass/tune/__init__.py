"""Tuning: which rows, which weights, how; the job and its page of figures; what comes of it, held against what it was made of.

Training itself happens in `training/`, in a process of its own. Nothing outside that folder loads PyTorch.
"""
