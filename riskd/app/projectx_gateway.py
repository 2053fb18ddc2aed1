"""The broker's gateway, as settings name it."""

from __future__ import annotations

import os
from random import Random
from typing import Any

from riskd.app.launch import utc_now
from riskd.config.settings import Settings
from riskd.gateway.projectx.credentials import find_credentials
from riskd.gateway.projectx.gateway import ProjectXGateway, make_agent
from riskd.gateway.projectx.websocket import HubConnector


def projectx_gateway(reactor: Any, settings: Settings) -> ProjectXGateway:
    """Return the ProjectX gateway that the settings name."""
    return ProjectXGateway(
        reactor,
        utc_now,
        agent=make_agent(reactor),
        rest_url=settings.gateway.rest_url,
        connect_user_hub=HubConnector(reactor, settings.gateway.user_hub_url),
        connect_market_hub=HubConnector(reactor, settings.gateway.market_hub_url),
        credentials=lambda: find_credentials(
            settings.gateway.user_name, settings.gateway.key_file, os.environ
        ),
        watch={ticker for account in settings.accounts for ticker in account.watch},
        random=Random(),
    )
