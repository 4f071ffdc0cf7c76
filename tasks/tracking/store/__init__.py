"""The versioned store of artifacts: DVC's cache, and its objects on the remote."""
