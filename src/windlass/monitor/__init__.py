"""Watches what runs: skew and drift of inputs, quality by continuous evaluation, and the alerts that tell people."""
