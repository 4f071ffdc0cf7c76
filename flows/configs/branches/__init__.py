"""What a flow trains side by side: branches of the sweep of exo, cells of the arms of ava."""
