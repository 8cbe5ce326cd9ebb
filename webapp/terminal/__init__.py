"""What the commands share: what they work on, exit codes, dates, tables, key files, and making a customer."""
