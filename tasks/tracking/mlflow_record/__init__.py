"""MLflow as the backend that spooled events go to; the only folder that imports mlflow.

A flow run is an MLflow run, each stage it executed is a child of it, each model a stage made is a
LoggedModel and a version of a registered model. Logging is idempotent and resumable: what is
logged a second time, because a kill came between MLflow and our cursor, is found by our own ids.
Runs are never left RUNNING: whoever drains next closes what was killed.
"""

from tasks.tracking.mlflow_record.connection import TrackingPlace, tracking_place
from tasks.tracking.mlflow_record.sync import MlflowRecord
from tasks.tracking.mlflow_record.tags import RUN_TAG, STAGE_TAG

__all__ = ["RUN_TAG", "STAGE_TAG", "MlflowRecord", "TrackingPlace", "tracking_place"]
