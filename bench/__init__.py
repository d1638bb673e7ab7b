"""How fast this project is, against the plain formulation of the same work: `python -m bench`."""
