"""Methods of the client, one for each operation, grouped by noun as `client.datasets`, `client.traces` and so on."""
