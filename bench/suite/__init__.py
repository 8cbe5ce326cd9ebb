"""`make bench`: its plan, the measured systems, the table and the plots."""
