"""Private servers of one clone: own folder, own free loopback ports, nothing left behind."""
