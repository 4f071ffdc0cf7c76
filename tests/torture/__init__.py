"""The torture of `make torture`: faults, kills and damage at drawn places; what must still hold.

A trial is named by its kind and flow and determined by its seed: `fault/apo` 17.
"""
