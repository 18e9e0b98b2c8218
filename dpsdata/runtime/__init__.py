"""Files, locks, devices, processes and the command line: what every room above stands on."""
