"""What runs as a sender, each in the environment of its own set-up, where nothing of ours can be imported."""
