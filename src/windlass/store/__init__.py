"""Where bytes live: the data folder, the relational store, blobs, the journal, spans. Ports, and per port one file per engine.
Knows nothing of what the bytes mean."""
