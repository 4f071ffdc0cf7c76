"""The steps of the flow ava: its inputs, the training of an arm, what an arm is measured by."""
