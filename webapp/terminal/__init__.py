"""What the commands share: the command's context, exit codes, dates, tables, key files."""
