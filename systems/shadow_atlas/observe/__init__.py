"""What a data directory and its services look like, as typed observations. Nothing here judges or writes."""
