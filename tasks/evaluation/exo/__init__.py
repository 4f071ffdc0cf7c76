"""The report of the flow exo: checkpoints, the reward-KL frontier, sweeps and densities."""
