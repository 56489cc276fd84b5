"""Documents of the writing page, kept in a database."""
