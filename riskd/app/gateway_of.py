"""Which gateway settings mean."""

from __future__ import annotations

from riskd.config.settings import GatewaySettings
from riskd.journal.gateway_identity import GatewayIdentity, gateway_identity


def gateway_of(settings: GatewaySettings) -> GatewayIdentity:
    """Return the gateway that a state directory of these settings belongs to."""
    return gateway_identity(settings.kind, settings.rest_url, settings.user_name)
