"""Proximal policy optimisation: rollouts, rewards per token, actor and critic, all resumable."""
