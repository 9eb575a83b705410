"""One service each, with the same contract. They take PORT, DATABASE_URL and JWT_SECRET from the environment."""
