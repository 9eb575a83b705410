"""What the service is put through, and how it is watched meanwhile: small pieces for tests/live and tests/soak."""
