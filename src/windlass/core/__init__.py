"""The words as types: digests, refs, artifacts, messages, spans, scores, actors, operations, errors. No I/O."""
