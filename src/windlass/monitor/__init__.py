"""Skew: whether production still looks like what was evaluated, with a false-alarm rate that holds however often one looks.

Knows texts, their vectors and the evaluation rows they are held against; not where rows lie, who asks, nor how a page shows it. Nothing
in it reads or writes anything: rows and a function that encodes them come in, structs of `core.monitoring` come out.
"""
