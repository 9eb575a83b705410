"""Who has no auth server has this one: sign up, log in, stay logged in, log out, leave."""
