"""The pytest plugin: loaded by entry point, so it must stay light. Fixtures come with the client."""
