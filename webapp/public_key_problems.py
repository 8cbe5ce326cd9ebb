"""The refusals that only requests with public keys meet, and of keys that are in a URL and must not be."""

from http import HTTPStatus

from webapp.problem_type import ProblemType

KEY_IN_URL = ProblemType(
    slug="key-in-url",
    status=HTTPStatus.UNAUTHORIZED,
    title="A key that is no public one is in the URL",
    remedy="Send it as `Authorization: Bearer <key>`, and replace it: URLs end up in logs.",
)
KEY_EXPIRED = ProblemType(
    slug="key-expired",
    status=HTTPStatus.UNAUTHORIZED,
    title="The public key has expired",
    remedy="Use a newer key of `flask customers add-public-key`.",
)
ORIGIN_NOT_ALLOWED = ProblemType(
    slug="origin-not-allowed",
    status=HTTPStatus.FORBIDDEN,
    title="Pages of this origin may not use the public key",
    remedy="Use a key whose origins include the page's; `flask customers public-keys` lists them.",
)
APP_NOT_ALLOWED = ProblemType(
    slug="app-not-allowed",
    status=HTTPStatus.FORBIDDEN,
    title="The public key is not for this app",
    remedy="Send the app's id in Sluice-App-Id, with a key whose apps include it.",
)
TOO_MANY_OF_ADDRESS = ProblemType(
    slug="too-many-of-address",
    status=HTTPStatus.TOO_MANY_REQUESTS,
    title="The address has sent too many requests with this public key in this minute",
    remedy="It was not kept. Wait for Retry-After, then send the same bytes again; send fewer and larger"
    " batches.",
    retry="later",
)
KEY_USED_UP = ProblemType(
    slug="key-used-up",
    status=HTTPStatus.TOO_MANY_REQUESTS,
    title="What the public key may send in a day is used up, or held by batches under way",
    remedy="It was not kept. Wait for Retry-After, then send the same bytes again: the day begins at midnight"
    " UTC, and what is only held may be given back soon.",
    retry="later",
)

KINDS = (KEY_IN_URL, KEY_EXPIRED, ORIGIN_NOT_ALLOWED, APP_NOT_ALLOWED, TOO_MANY_OF_ADDRESS, KEY_USED_UP)
