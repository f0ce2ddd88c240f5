"""Who may do what, what it costs, and the record of what was done. Knows nothing of how things are done."""
