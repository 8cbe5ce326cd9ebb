"""Who dies × when × how: faults in real processes under traffic, and the books afterwards."""
