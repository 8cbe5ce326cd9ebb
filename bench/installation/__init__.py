"""An installation to measure: servers, the processes of Sluice, customers, the machine."""
