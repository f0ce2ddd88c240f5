"""What models there are to call: providers as data, and the catalog of what this installation can reach.

Knows addresses, dialects' names, environment variables and prices' names; never a wire format, and calls nothing by itself.
"""
