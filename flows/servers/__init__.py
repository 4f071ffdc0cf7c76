"""The Prefect and MLflow servers: started, shared by runs, and supervised."""
