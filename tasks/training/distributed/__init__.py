"""One training in several processes: launching them, their ranks, engines and messages."""
