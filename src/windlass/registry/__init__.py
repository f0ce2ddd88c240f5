"""Every version of everything, its labels, links and rows. Nothing is ever overwritten. Knows nothing of what versions do."""
