"""What travels between machines: artifacts, the user's files and descriptions of stage calls."""
