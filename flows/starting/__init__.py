"""A user's first configuration: what is asked, what the data say, and the file that is written."""
