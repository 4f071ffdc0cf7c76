"""What makes a function a stage: its key, lease, workspace, commit, record and resume.

A stage is done if and only if its manifest is committed and every file it names is there. Nothing
else is believed: neither Prefect's cache, nor MLflow, nor a folder that happens to exist.
"""
