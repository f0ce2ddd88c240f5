"""The pages: HTML and JSON from one typed context. No powers of their own: every page asks operations."""
