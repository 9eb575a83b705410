"""Email addresses in the one spelling under which an account is found."""

from functools import cache
from types import ModuleType

from app.web.failures import Invalid

# A network at home may have mail of its own: those names cannot be reached from everywhere, but they need not.
FINE_NAMES = ("local", "test")
MAX_ADDRESS_CHARACTERS = 254  # RFC 5321, section 4.5.3.1.3, without the angle brackets


def normal(email: str) -> str:
    """Return the address in NFC and lower case (RFC 5321, RFC 6531). Raises Invalid for what is none.

    What has more than 254 characters is none, and is not looked at: to normalise a long one may take long.

    Mailboxes that differ in case alone are different by RFC 5321, section 2.4, and the same to everybody.
    """
    validator, email = _validator(), email.strip()
    try:
        if len(email) > MAX_ADDRESS_CHARACTERS:
            raise validator.EmailNotValidError
        address = validator.validate_email(email, check_deliverability=False)
    except validator.EmailNotValidError:
        raise Invalid("email", "Email is not an email address") from None
    return address.normalized.lower()


@cache
def _validator() -> ModuleType:
    """The library, which takes a while to import and some memory: only those who have accounts need it."""
    import email_validator

    refused = email_validator.SPECIAL_USE_DOMAIN_NAMES
    refused[:] = [name for name in refused if name not in FINE_NAMES]
    return email_validator
