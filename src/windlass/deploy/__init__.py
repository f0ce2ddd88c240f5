"""What stands where, and how it came there."""
