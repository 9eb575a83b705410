"""What every request and every answer passes, whatever its route: the socket's ring, then the ASGI ring."""
