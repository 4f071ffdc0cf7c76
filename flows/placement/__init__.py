"""Where a stage runs: in this process, beside it, or on a worker pool of Prefect."""
