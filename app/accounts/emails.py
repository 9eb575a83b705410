"""Email addresses in the one spelling under which an account is found."""

import email_validator

from app.failures import Invalid

# A network at home may have mail of its own: those names cannot be reached from everywhere, but they need not.
_OURS_TO_REFUSE = [name for name in email_validator.SPECIAL_USE_DOMAIN_NAMES if name not in ("local", "test")]
email_validator.SPECIAL_USE_DOMAIN_NAMES[:] = _OURS_TO_REFUSE


def normal(email: str) -> str:
    """Return the address in NFC and lower case (RFC 5321, RFC 6531). Raises Invalid for what is none.

    Mailboxes that differ in case alone are different by RFC 5321, section 2.4, and the same to everybody.
    """
    try:
        address = email_validator.validate_email(email.strip(), check_deliverability=False)
    except email_validator.EmailNotValidError:
        raise Invalid("email", "Email is not an email address") from None
    return address.normalized.lower()
