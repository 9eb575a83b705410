"""Who is calling? A token in, a user out; nobody else in the house reads tokens."""
