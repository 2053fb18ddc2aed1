// The official SignalR client on both hubs of a ProjectX gateway.  It prints what happens, a JSON object a
// line, and ends when its standard input does.
//
// node client.mjs BASE_URL TOKEN ACCOUNT_ID CONTRACT_ID negotiate|skip

import { HttpTransportType, HubConnectionBuilder, LogLevel } from "@microsoft/signalr";

const [base, token, account, contract, mode] = process.argv.slice(2);
const RETRY_MILLISECONDS = 50;

const HUBS = {
  user: {
    SubscribeAccounts: [],
    SubscribeOrders: [Number(account)],
    SubscribePositions: [Number(account)],
    SubscribeTrades: [Number(account)],
  },
  market: {
    SubscribeContractQuotes: [contract],
    SubscribeContractTrades: [contract],
    SubscribeContractMarketDepth: [contract],
  },
};
const TARGETS = [
  "GatewayUserAccount",
  "GatewayUserOrder",
  "GatewayUserPosition",
  "GatewayUserTrade",
  "GatewayQuote",
  "GatewayTrade",
  "GatewayDepth",
  "GatewayLogout",
];

const tell = (line) => console.log(JSON.stringify(line));

const connections = Object.entries(HUBS).map(([hub, methods]) => {
  const connection = new HubConnectionBuilder()
    .withUrl(`${base}/hubs/${hub}`, {
      accessTokenFactory: () => token,
      skipNegotiation: mode === "skip",
      transport: HttpTransportType.WebSockets,
    })
    .withAutomaticReconnect({ nextRetryDelayInMilliseconds: () => RETRY_MILLISECONDS })
    .configureLogging(LogLevel.None)
    .build();
  const subscribe = async () => {
    for (const [method, values] of Object.entries(methods)) {
      tell({ hub, method, result: await connection.invoke(method, ...values) });
    }
    try {
      await connection.invoke("SubscribeNothing");
    } catch (error) {
      tell({ hub, method: "SubscribeNothing", error: error.message });
    }
    tell({ hub, state: "subscribed" });
  };
  for (const target of TARGETS) {
    connection.on(target, (...values) => tell({ hub, target, arguments: values }));
  }
  connection.onreconnecting(() => tell({ hub, state: "reconnecting" }));
  connection.onreconnected(subscribe);
  connection.onclose((error) => tell({ hub, state: "closed", error: error?.message ?? null }));
  return { connection, subscribe };
});

for (const { connection, subscribe } of connections) {
  await connection.start();
  await subscribe();
}
process.stdin.resume();
process.stdin.on("end", async () => {
  await Promise.all(connections.map(({ connection }) => connection.stop()));
});
