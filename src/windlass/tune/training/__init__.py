"""The inside of a tuning process: `python -m windlass.tune.training`. Given a job as a file, it trains, keeps checkpoints that it can
prove whole, and exports. It knows no registry, no project and no server: files in, files and reports out."""
