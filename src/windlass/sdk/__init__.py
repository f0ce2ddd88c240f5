"""In the user's process: authoring, workspace, client, tracing. Imports only `core`."""
