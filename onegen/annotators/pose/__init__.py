"""Where the joints of each person are."""
