import "reflect-metadata";
import {
  BasicConstraintsExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { Buffer } from "node:buffer";
import net from "node:net";
import tls from "node:tls";

/** A proxy that takes CONNECT for one host, and is that host: TLS by a certificate of its own authority. */
export interface TunnelProxy extends AsyncDisposable {
  readonly port: number;
  /** The authority's certificate in PEM. */
  readonly ca: string;
  /** What CONNECT named, and with which credentials for the proxy. */
  readonly asked: readonly string[];
}

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

/** Starts one on loopback that leads `host:443` to a plain HTTP server on a port of this host. */
export async function openTunnelProxy(host: string, port: number): Promise<TunnelProxy> {
  const { ca, cert, key } = await certificateFor(host);
  const sockets = new Set<net.Socket>();
  const asked: string[] = [];
  const service = tls.createServer({ cert, key }, (socket) => join(socket, net.connect(port, "127.0.0.1")));
  await listen(service);
  const proxy = net.createServer((socket) => {
    socket.once("data", (head: Buffer) => {
      const lines = head.toString("latin1").split("\r\n");
      const auth = lines.find((line) => /^proxy-authorization:/i.test(line))?.split(" ").at(-1);
      asked.push(
        [lines[0]?.split(" ").slice(0, 2).join(" "), auth].filter((one) => one !== undefined).join(" "),
      );
      if (lines[0] !== `CONNECT ${host}:443 HTTP/1.1`) {
        socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
        return;
      }
      socket.write("HTTP/1.1 200 Connected\r\n\r\n");
      join(socket, net.connect(portOf(service), "127.0.0.1"));
    });
  });
  await listen(proxy);

  function join(one: net.Socket, other: net.Socket): void {
    for (const [from, to] of [[one, other], [other, one]] as const) {
      sockets.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
      from.pipe(to);
    }
  }

  return {
    port: portOf(proxy),
    ca,
    asked,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await Promise.all([proxy, service].map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

async function certificateFor(host: string) {
  const [authority, own] = await Promise.all([keyPair(), keyPair()]);
  const ca = await X509CertificateGenerator.createSelfSigned({
    name: "CN=Authority of a test",
    keys: authority,
    signingAlgorithm: algorithm,
    extensions: [new BasicConstraintsExtension(true, undefined, true)],
  });
  const certificate = await X509CertificateGenerator.create({
    subject: `CN=${host}`,
    issuer: ca.subject,
    publicKey: own.publicKey,
    signingKey: authority.privateKey,
    signingAlgorithm: algorithm,
    extensions: [new SubjectAlternativeNameExtension([{ type: "dns", value: host }])],
  });
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey("pkcs8", own.privateKey)).toString("base64");
  const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.replace(/.{64}/g, "$&\n")}\n-----END PRIVATE KEY-----\n`;
  return { ca: ca.toString("pem"), cert: certificate.toString("pem"), key };
}

async function keyPair(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
}

async function listen(server: net.Server): Promise<void> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
}

function portOf(server: net.Server): number {
  return (server.address() as net.AddressInfo).port;
}
