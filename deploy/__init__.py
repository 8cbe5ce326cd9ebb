"""Where Sluice runs: private servers for a clone, and configurations of other programs."""
