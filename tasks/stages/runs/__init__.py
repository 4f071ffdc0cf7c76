"""A run of a flow: its record, its context, what it tells the tracking server, and aliases."""
