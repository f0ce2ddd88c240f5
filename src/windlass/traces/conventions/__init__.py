"""What attributes of spans mean, by convention: one table a file, read by `tables.py`."""
