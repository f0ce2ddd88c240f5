"""What agents may do: grants, the decision about one call, what calls have spent, and the switches that stop them. Knows nothing of how a
tool is run."""
