"""The ways to update a policy, one file each: which responses it uses, and its loss."""
