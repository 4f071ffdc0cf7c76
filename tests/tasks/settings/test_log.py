"""The log that nobody reads is a log."""

from tasks.settings.log import Log, NullLog


def test_null_log_takes_everything() -> None:
    log: Log = NullLog()
    log({"loss": 1.0}, step=3)
    log({"loss": 1.0})
    log.note("hello")
    log.progress(1, 2, "steps")
