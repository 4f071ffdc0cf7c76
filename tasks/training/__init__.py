"""Running an optimiser: configs, the loop, checkpoints, and what each method minimises."""
