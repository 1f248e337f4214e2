/** Loaded before the program: any attempt to reach the network ends it with a message that tests look for. */
import dgram from "node:dgram";
import dns from "node:dns";
import net from "node:net";

function refuse(what) {
  return () => {
    console.error(`NETWORK TOUCHED: ${what}`);
    process.exit(99);
  };
}

net.Socket.prototype.connect = refuse("a socket was opened");
net.Server.prototype.listen = refuse("a port was opened");
dgram.createSocket = refuse("a datagram socket was opened");
dns.lookup = refuse("a name was looked up");
globalThis.fetch = refuse("fetch was called");
