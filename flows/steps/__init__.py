"""The steps of flows that take more than one stage: inputs, evaluations, trainings."""
