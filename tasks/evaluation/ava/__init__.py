"""The report of the flow ava: accuracies, matches in the shape of the paper's tables, proxies."""
