"""Long work that outlives whoever asked for it: handed over here, done once, gone on with after a crash."""
