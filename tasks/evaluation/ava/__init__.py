"""The report of the flow ava: accuracies, matches, proxies; and diagnostics of a TQR by token."""
