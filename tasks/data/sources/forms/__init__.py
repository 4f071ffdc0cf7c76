"""The published forms of data by kind: how each is recognised, and how a row becomes a group."""
