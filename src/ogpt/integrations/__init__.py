"""Other libraries' types around the models of ogpt; each file loads its library and is optional."""
