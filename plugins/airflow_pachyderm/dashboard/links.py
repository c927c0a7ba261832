"""Where the page is, for everything that links to it. Loads nothing of the page."""

from typing import Final
from urllib.parse import urlencode, urlsplit

NAME: Final = "Pachyderm"
URL_PREFIX: Final = "/pachyderm"
URL_ROUTE: Final = "pachyderm"


def commit_set_url(commit_set: str, *, base_url: str) -> str:
    """The page of a commit set: its jobs, their progress and logs, inside Airflow's UI.

    :param commit_set: 32 hex digits.
    :param base_url: Airflow's ``[api] base_url``; may have a path.
    """
    return page_url({"view": "jobs", "set": commit_set}, base_url=base_url)


def page_url(query: dict[str, str], *, base_url: str) -> str:
    """A view of the page inside Airflow's UI, which takes the framed page's own path behind the route.

    :param query: What the page shows: ``view`` and the view's own names.
    """
    base_url = base_url.rstrip("/")
    return f"{base_url}/plugin/{URL_ROUTE}{urlsplit(base_url).path}{URL_PREFIX}/?{urlencode(query)}"
