"""The work: a file here is a Prefect task named by a verb, a folder is library named by a noun."""
