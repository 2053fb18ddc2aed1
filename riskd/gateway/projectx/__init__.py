"""The ProjectX gateway client: login, REST, SignalR hubs, market data."""
