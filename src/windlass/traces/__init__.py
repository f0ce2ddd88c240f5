"""What happened: spans in, made durable, projected into rows, asked for. Knows the versions that took part only by their refs."""
