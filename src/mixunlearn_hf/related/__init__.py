"""What still carries a forgotten row: rows of the other splits that are the same or nearly so."""
