"""Every durable write, digest and lock of the project, with nothing but the standard library."""
