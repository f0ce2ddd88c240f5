"""Evaluators at work: experiments, the statistics of paired scores, the gate and its verdicts."""
