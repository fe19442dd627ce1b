"""The pages that people see who follow a link: no name, no address, nothing from elsewhere, and no token in them."""

from typing import Final

from starlette.responses import Response

# Nothing is loaded, nothing is kept, nobody learns where the reader came from, and no page may be laid over this one.
HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
    "vary": "accept-language",
}
RETRY_AFTER_S: Final = 5
FIELD, ONE_CLICK, BY_HAND = "List-Unsubscribe", "One-Click", "Page"
BUTTON: Final = (
    '<form method="post"><input type="hidden" name="{field}" value="{value}"><button type="submit">{text}</button></form>'
)
PAGE: Final = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}}
button{{font:inherit;padding:.6rem 1.2rem}}</style></head>
<body><h1>{title}</h1><p>{text}</p>{form}</body></html>
"""
TEXTS: Final = {
    "ask": {
        "en": ("Unsubscribe?", "Press the button, and no more of these messages will come to the address that yours came to."),
        "de": ("Abmelden?", "Ein Klick auf den Knopf, und an die Adresse dieser Nachricht kommt keine solche mehr."),
    },
    "done": {
        "en": ("You are unsubscribed", "No more of these messages will be sent to this address. Some may be on their way already."),
        "de": (
            "Sie sind abgemeldet",
            "An diese Adresse wird keine solche Nachricht mehr verschickt. Einzelne können schon unterwegs sein.",
        ),
    },
    "unknown": {
        "en": ("This link does not work", "It is not complete. Please copy the whole of it from the message, or use its button."),
        "de": (
            "Dieser Link gilt nicht",
            "Er ist nicht vollständig. Bitte kopieren Sie ihn ganz aus der Nachricht, oder klicken Sie dort.",
        ),
    },
    "expired": {
        "en": ("This link is too old", "Please use the link in a newer message, or write to whoever sent it."),
        "de": ("Dieser Link ist zu alt", "Bitte nehmen Sie den Link einer neueren Nachricht, oder schreiben Sie dem Absender."),
    },
    "later": {
        "en": ("Please try again", "We could not record it just now. Please try again in a moment."),
        "de": (
            "Bitte noch einmal versuchen",
            "Gerade konnten wir das nicht festhalten. Bitte versuchen Sie es gleich noch einmal.",
        ),
    },
}
BUTTONS: Final = {"en": "Unsubscribe", "de": "Abmelden"}


def page(name: str, status: int, accept_language: str, headers: dict[str, str] | None = None) -> Response:
    language = "de" if accept_language.strip().lower().startswith("de") else "en"
    title, text = TEXTS[name][language]
    form = BUTTON.format(field=FIELD, value=BY_HAND, text=BUTTONS[language]) if name == "ask" else ""
    content = PAGE.format(language=language, title=title, text=text, form=form)
    return Response(content, status, HEADERS | (headers or {}), media_type="text/html")
