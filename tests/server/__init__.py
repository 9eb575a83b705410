"""The server: HTTP/1.1 over a socket, in this process, where deadlines are short."""
