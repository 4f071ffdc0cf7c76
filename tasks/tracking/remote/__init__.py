"""The place that several machines share: a folder or S3, behind one protocol."""
