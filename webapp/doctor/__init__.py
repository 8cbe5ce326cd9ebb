"""What `flask doctor` checks: settings, database, broker, host and processes. It changes nothing."""
