"""The command line `mixunlearn`, thin over the library."""
